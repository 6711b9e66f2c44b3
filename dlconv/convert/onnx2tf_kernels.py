"""TensorFlow kernels that onnx2tf's SavedModels lack or have wrong: put in their place before its graph is replayed."""

from __future__ import annotations

from typing import Any


def mend(exporter: Any) -> None:
    """Give onnx2tf's exporter of SavedModels a depthwise convolution that runs, and the rounding that it lacks."""
    exporter._REGISTERED_KERNELS.update({"DEPTHWISE_CONV_2D": _depthwise(exporter), "ROUND": _round})
    exporter.SUPPORTED_KERNEL_OP_TYPES.add("ROUND")


def _depthwise(exporter: Any) -> Any:
    import tensorflow as tf

    def kernel(executor: Any, op: Any, env: dict[str, Any]) -> None:
        image, filters = (executor._resolve_tensor(name, env) for name in op.inputs[:2])
        height, width = filters.shape[1:3]
        # TFLite's filters are 1 x H x W x (C * M), output m of channel c at c * M + m; TensorFlow's are H x W x C x M.
        told = {name: int(op.options.get(name, 1)) for name in
                ("strideH", "strideW", "dilationHFactor", "dilationWFactor")}  # fmt: skip
        made = tf.nn.depthwise_conv2d(
            image,
            tf.reshape(filters, [height, width, image.shape[-1], -1]),
            strides=[1, told["strideH"], told["strideW"], 1],
            dilations=[told["dilationHFactor"], told["dilationWFactor"]],
            padding=str(op.options.get("padding", "SAME")).upper(),
        )
        if len(op.inputs) > 2:
            bias = executor._resolve_optional_tensor(op.inputs[2], env)
            made = made if bias is None else tf.nn.bias_add(made, bias)
        activation = str(op.options.get("fusedActivationFunction", "NONE"))
        executor._assign_outputs(op, [exporter._apply_fused_activation(made, activation)], env)

    return kernel


def _round(executor: Any, op: Any, env: dict[str, Any]) -> None:
    import tensorflow as tf

    # To even at halves, as TFLite's ROUND.
    executor._assign_outputs(op, [tf.round(executor._resolve_tensor(op.inputs[0], env))], env)
