"""Keras files, opened: by Keras 3 in safe mode, and by Keras 2 where Keras 3 refuses them as old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv.errors import FormatError, Unsupported
from dlconv.runtimes.tensorflow_import import keras, legacy_keras, tensorflow
from dlconv.runtimes.tensorflow_program import Program, keep, of_function

if TYPE_CHECKING:
    from pathlib import Path

_CODE = "Lambda"


def open_keras(path: Path, *, trust: bool) -> Program:
    """The program of a Keras file. Raises Unsupported for code without trust, FormatError for what Keras refuses."""
    model, framework = load(path, trust=trust)
    tf = tensorflow()
    structure = getattr(model, "_inputs_struct", model.inputs if len(model.inputs) > 1 else model.inputs[0])
    declared = tf.nest.flatten(structure)
    taken = [_short(tensor.name) for tensor in declared]
    given = _output_names(model)
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in zip(taken, declared, strict=True)]

    def answer(*tensors: Any) -> Any:
        return model(tf.nest.pack_sequence_as(structure, list(tensors)), training=False)

    # As `model.predict` calls it: traced once.
    traced = tf.function(answer, autograph=False).get_concrete_function(*specs)
    program = of_function(traced, framework, names=(taken, given))
    keep(program, model)
    return program


def load(path: Path, *, trust: bool) -> tuple[Any, str]:
    """The model, built, and what opened it ("keras 3.15.1", "tf-keras 2.21.0")."""
    module = keras()
    try:
        model = module.models.load_model(str(path), compile=False, safe_mode=not trust)
    except Exception as error:  # Keras raises whatever it likes for what it does not take
        if _is_refused_code(error):
            raise _untrusted(path) from error
        model, framework = _load_old(path, error, trust=trust)
    else:
        framework = f"keras {module.__version__}"
    if not model.inputs:
        raise Unsupported(
            f"{path.name} is a model without declared inputs",
            wanted="a functional or sequential model, or a subclass that was built by a call",
            mend="call it once before it is saved, or export it: model.export(folder)",
        )
    return model, framework


def _load_old(path: Path, refused: Exception, *, trust: bool) -> tuple[Any, str]:
    """By Keras 2, which runs a Lambda layer's code without being asked: so it is looked for before."""
    module = legacy_keras()
    if not trust and _has_code(path):
        raise _untrusted(path) from refused
    try:
        return module.models.load_model(str(path), compile=False), f"tf-keras {module.__version__}"
    except Exception as error:
        raise FormatError(
            f"Keras cannot load {path.name}: {_line(refused)}; nor can Keras 2: {_line(error)}",
            wanted="a model of Keras' own layers",
            mend="load it where its code is, and export it: model.export(folder) writes a SavedModel",
        ) from error


def _has_code(path: Path) -> bool:
    """Whether the architecture has a layer that carries Python bytecode."""
    import json
    import zipfile
    from importlib import import_module

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            text = archive.read("config.json").decode()
    else:
        h5py: Any = import_module("h5py")
        with h5py.File(path, "r") as file:
            text = file.attrs["model_config"]
    return _CODE in _classes(json.loads(text))


def _classes(config: Any) -> set[str]:
    """The class names anywhere in a Keras configuration."""
    if isinstance(config, dict):
        own = {config["class_name"]} if isinstance(config.get("class_name"), str) else set()
        return own.union(*(_classes(value) for value in config.values()))
    if isinstance(config, list):
        return set[str]().union(*(_classes(value) for value in config))
    return set()


def _is_refused_code(error: Exception) -> bool:
    # Keras says it in words alone, by naming what would allow it: `safe_mode` or `enable_unsafe_deserialization`.
    return "safe_mode" in str(error) or "unsafe_deserialization" in str(error)


def _untrusted(path: Path) -> Unsupported:
    return Unsupported(
        f"{path.name} holds Python code (a Lambda layer), which would run when it is opened",
        wanted="a model of layers alone, or your word that the file is yours",
        mend="--trust, if you trust whoever made the file",
    )


def _output_names(model: Any) -> list[str]:
    """A dict's keys in their order as TensorFlow flattens them, else the names of the layers that give the outputs."""
    tf = tensorflow()
    inner = getattr(model, "_functional", None) or model  # a sequential model is a functional one inside
    structure = getattr(inner, "_outputs_struct", model.outputs)
    if isinstance(structure, dict):
        return sorted(structure)
    names = [_short(str(name)) for name in getattr(inner, "output_names", [])]
    count = len(tf.nest.flatten(model.outputs))
    if len(names) != count or len(set(names)) != count:
        return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]
    return names


def _short(name: str) -> str:
    return name.removesuffix(":0")


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
