"""OpenVINO's IR in float32 to one in int8, by NNCF: OpenVINO's own quantiser, which also corrects biases."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv import progress
from dlconv.convert.edge import Made, Step
from dlconv.errors import StepError, Unsupported
from dlconv.runtimes.openvino_ports import import_openvino
from dlconv.samples import from_arrays, read_npz

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ENTRY = "model.xml"


def convert(step: Step) -> Made:
    """The IR with its weights in int8, a scale a channel, and FakeQuantize where activations are; inputs and outputs
    stay float32. Every calibration sample is run; a range is that of the extremes.

    settings: "halved" (True: weights take half of their 8 bits, so that sums of 16 bits do not saturate), "keep", names
    of nodes of the ONNX graph that the IR was made of, which stay in float32, and "outputs", by
    which tensors the IR knows them (`onnx_reducible.outputs`).
    Raises Unsupported with nothing to quantise, and for a node to keep that the IR does not know.
    """
    if step.calibration is None:
        raise Unsupported("int8 needs calibration samples", mend="--calibration FILE.npz")
    ov = import_openvino()
    nncf: Any = import_module("nncf")
    estimators: Any = import_module("nncf.quantization.range_estimator")
    nncf.set_log_level("ERROR")
    model = ov.Core().read_model(str(step.source))
    samples = from_arrays(read_npz(step.calibration))
    keep = _kept(model, step.settings.get("keep", ()), step.settings.get("outputs", {}))
    is_transformer = _attends(model)
    made = nncf.quantize(
        model,
        nncf.Dataset(_Told(samples)),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=False,  # the fast one was six times farther off on a small CNN than none at all
        model_type=nncf.ModelType.TRANSFORMER if is_transformer else None,
        ignored_scope=nncf.IgnoredScope(names=keep) if keep else None,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE if step.settings.get("halved") else nncf.OverflowFix.DISABLE,
            # Its own way over several samples is the mean of their extremes, which cuts off what is rare and large.
            activations_range_estimator_params=estimators.RangeEstimatorParametersSet.MINMAX,
        ),
    )
    counted = sum(node.get_type_name() == "FakeQuantize" for node in made.get_ops())
    if not counted:
        raise Unsupported("the model has nothing that is computed in int8", mend="leave it in float32")
    ov.save_model(made, str(step.out_dir / ENTRY), compress_to_fp16=False)
    _require_same_ports(made, step)
    notes = [f"{counted} tensors quantised by NNCF; ranges by the extremes of {len(samples)} samples"]
    notes += ["scales between layers were balanced, as for a transformer"] if is_transformer else []
    return Made(ENTRY, step.signature, tuple(notes))


class _Told:
    """The samples, told as they are gone through; NNCF goes through them more than once."""

    def __init__(self, samples: Sequence[dict[str, Any]]) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return progress.through(self._samples)

    def __len__(self) -> int:
        return len(self._samples)


def _kept(model: Any, wanted: Sequence[str], outputs: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """The IR's names of what ONNX nodes became: called as the node or below it ("NAME/WithoutBiases"), or what makes a
    tensor of it; else what makes the nearest tensor after it that the IR has."""
    known = {
        str(node.get_friendly_name()): {name for port in node.outputs() for name in port.get_names()}
        for node in model.get_ordered_ops()
        if node.get_type_name() not in ("Constant", "Result")
    }
    found: dict[str, list[str]] = {}
    for name in wanted:
        first, *later = outputs.get(name, ((),))
        called = [own for own in known if own == name or own.startswith(f"{name}/")]
        makers = [[own for own, tensors in known.items() if tensors & set(each)] for each in (first, *later)]
        found[name] = [*called, *makers[0]] or next(filter(None, makers), [])
    if unknown := sorted(name for name, names in found.items() if not names):
        raise Unsupported(
            f"OpenVINO's model does not know {len(unknown)} nodes of the keep-list: {', '.join(unknown[:5])}",
            wanted="names that its frontend took over from the ONNX graph",
            mend="a route on which ONNX's own graph is quantised: dlconv plan shows them",
        )
    return [each for names in found.values() for each in names]


def _attends(model: Any) -> bool:
    """Whether the model holds attention: a softmax that a product reads."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "ScaledDotProductAttention":
            return True
        if node.get_type_name() == "Softmax" and any(
            reader.get_node().get_type_name() == "MatMul" for reader in node.output(0).get_target_inputs()
        ):
            return True
    return False


def _require_same_ports(made: Any, step: Step) -> None:
    for ports, specs in ((made.inputs, step.signature.inputs), (made.outputs, step.signature.outputs)):
        names = [port.get_names() for port in ports]
        if len(names) != len(specs) or not all(any(spec.name in each for each in names) for spec in specs):
            raise StepError(f"NNCF's model has the tensors {names}", wanted=", ".join(map(str, specs)))
