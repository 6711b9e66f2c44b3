"""Keras files, opened: by Keras 3 in safe mode, and by Keras 2 where Keras 3 refuses them as old."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dlconv.errors import FormatError, SignatureError, Unsupported
from dlconv.runtimes.keras_state import answers_alone
from dlconv.runtimes.tensorflow_import import keras, legacy_keras, tensorflow
from dlconv.runtimes.tensorflow_program import Program, keep, of_function

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dlconv.model import Dim, TensorSpec

_CODE = "Lambda"
_KERAS_MODULES = ("keras", "tf_keras", "builtins", "tensorflow", "numpy")


@dataclass(frozen=True)
class Boundary:
    """What a Keras model takes and gives, flattened: its tensors and the user's names of them; and how it nests them.

    structure: the model's inputs as it nests them. taken, given: names, one a tensor.
    """

    structure: Any
    declared: list[Any]
    taken: list[str]
    given: list[str]


def open_keras(path: Path, *, trust: bool, inputs: Sequence[TensorSpec] = ()) -> Program:
    """The program of a Keras file, traced at the sizes of `inputs` where they have some.

    Raises Unsupported for code without trust, FormatError for what Keras refuses.
    """
    model, framework = load(path, trust=trust)
    tf = tensorflow()
    known = boundary(model, tf.nest)
    sizes = {spec.name: spec.shape for spec in inputs}
    specs = [
        tf.TensorSpec(_sized(name, tensor, sizes.get(name)), tensor.dtype, name=name)
        for name, tensor in zip(known.taken, known.declared, strict=True)
    ]

    def answer(*tensors: Any) -> Any:
        return model(tf.nest.pack_sequence_as(known.structure, list(tensors)), training=False)

    # As `model.predict` calls it: traced once.
    traced = tf.function(answer, autograph=False).get_concrete_function(*specs)
    alone, state = answers_alone(model, answer, specs, traced)
    program = replace(of_function(alone, framework, names=(known.taken, known.given)), state=state)
    keep(program, model)
    return program


def _sized(name: str, tensor: Any, asked: tuple[Dim, ...] | None) -> list[int | None]:
    """The tensor's shape with the sizes that are asked for. Raises SignatureError where the model takes others."""
    own = list(tensor.shape)
    sizes = own if asked is None else [size if isinstance(size, int) else None for size in asked]
    if len(sizes) != len(own) or any(None not in pair and len(set(pair)) > 1 for pair in zip(sizes, own, strict=True)):
        raise SignatureError(f"{name} is {own} in the model", wanted=f"{asked}")
    return [mine if size is None else size for size, mine in zip(sizes, own, strict=True)]


def boundary(model: Any, nest: Any) -> Boundary:
    """Of a model that `load` gave. nest: the module that flattens: `tf.nest`, or `keras.tree` on any backend."""
    structure = getattr(model, "_inputs_struct", model.inputs if len(model.inputs) > 1 else model.inputs[0])
    declared = list(nest.flatten(structure))
    return Boundary(structure, declared, [_short(tensor.name) for tensor in declared], _output_names(model, nest))


def load(path: Path, *, trust: bool, backend: str = "tensorflow") -> tuple[Any, str]:
    """The model, built, and what opened it ("keras 3.15.1", "tf-keras 2.21.0").

    On another backend than "tensorflow" there is no Keras 2: what Keras 3 refuses as old raises Unsupported.
    """
    module = keras(backend)
    try:
        model = module.models.load_model(str(path), compile=False, safe_mode=not trust)
    except Exception as error:  # Keras raises whatever it likes for what it does not take
        if _is_refused_code(error):
            raise _untrusted(path) from error
        if own := _own_classes(path):
            raise Unsupported(
                f"{path.name} has classes of your own, whose code is not here: {', '.join(own)}",
                wanted="a model of Keras' own layers",
                mend="load it where their code is, and export it: model.export(folder) writes a SavedModel, which "
                "dlconv takes",
            ) from error
        if backend != "tensorflow":
            raise Unsupported(
                f"Keras {module.__version__} cannot load {path.name} on {backend}: {_line(error)}",
                mend="another route is tried",
            ) from error
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
    try:
        has_code = _has_code(path)
    except (OSError, KeyError, ValueError) as error:  # what the readers of archives and of HDF5 raise
        raise FormatError(
            f"{path.name} is damaged: {_line(error)}", mend="copy or download it again, or save it anew"
        ) from error
    if has_code and not trust:
        raise _untrusted(path) from refused
    try:
        return module.models.load_model(str(path), compile=False), f"tf-keras {module.__version__}"
    except Exception as error:
        raise FormatError(
            f"Keras cannot load {path.name}: {_line(refused)}; nor can Keras 2: {_line(error)}",
            wanted="a model of Keras' own layers",
            mend="load it where its code is, and export it: model.export(folder) writes a SavedModel",
        ) from error


def _own_classes(path: Path) -> list[str]:
    """The classes in a Keras 3 file that come from no module of Keras', by name; none where it cannot be read."""
    import json
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return []
    found, pending = set[str](), [config]
    while pending:
        each = pending.pop()
        pending += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        if isinstance(each, dict) and isinstance(each.get("class_name"), str) and "registered_name" in each:
            module = str(each.get("module") or "").partition(".")[0]
            if module not in _KERAS_MODULES and (module or each["registered_name"]):
                found.add(each["class_name"])
    return sorted(found)


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


def _output_names(model: Any, nest: Any) -> list[str]:
    """A dict's keys in their order as it is flattened, else the names of the layers that give the outputs."""
    inner = getattr(model, "_functional", None) or model  # a sequential model is a functional one inside
    structure = getattr(inner, "_outputs_struct", model.outputs)
    if isinstance(structure, dict):
        return sorted(structure)
    names = [_short(str(name)) for name in getattr(inner, "output_names", [])]
    count = len(nest.flatten(model.outputs))
    if len(names) != count or len(set(names)) != count:
        return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]
    return names


def _short(name: str) -> str:
    return name.removesuffix(":0")


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
