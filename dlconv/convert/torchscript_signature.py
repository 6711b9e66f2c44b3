"""The signature of a TorchScript archive, which holds no shapes: given, or inferred and proved by running the model."""

from __future__ import annotations

import contextlib
from typing import Any

from dlconv.convert import torchscript_quantised
from dlconv.convert.torchscript_behaviour import observe
from dlconv.convert.torchscript_guess import Guess, scalar_guesses, tensor_guesses
from dlconv.convert.torchscript_hints import Hints, read_hints
from dlconv.convert.torchscript_lift import why_unlifted
from dlconv.convert.torchscript_outputs import output_specs
from dlconv.convert.torchscript_search import Found, Search
from dlconv.convert.torchscript_traced import as_traced, traced_leaves
from dlconv.convert.torchscript_trial import Drawn, Trial, draw
from dlconv.errors import SignatureError
from dlconv.files.traced_inputs import Traced
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes.torch_state import may_change_state
from dlconv.runtimes.torchscript import Argument, Scalar, arguments_of, call, dtype_name, load, stored_tensors


def infer(
    path: str,
    inputs: list[dict[str, Any]] | None = None,
    samples: dict[str, dict[str, Any]] | None = None,
    constants: dict[str, Scalar] | None = None,
    seed: int = 0,
    seconds: float = 120.0,
) -> dict[str, Any]:
    """What the archive takes and gives.

    inputs: specifications (`TensorSpec.to_dict`; an empty dtype is inferred, so is a shape of None).
    samples: name -> {"dtype", "shape"} of the user's arrays. constants: values of arguments that are no tensors.
    Arguments that none of them names are inferred. Returns {"signature", "notes", "tried", "flag" (the --input
    options that say the same), "bounds" (integer input -> [low, high]), "sizes" (free size -> sizes that ran),
    "stateful", "state", "sequence" (the state can be given and taken, so that samples are steps of one sequence),
    "deterministic", "training"}. Raises SignatureError.
    """
    module = load(path)
    notes: list[str] = []
    training = bool(getattr(module, "training", False))  # freezing, which is for evaluation, removes it
    if training:
        module.eval()
        notes.append("the module was saved in training mode; it is converted in evaluation mode")
    torchscript_quantised.refuse_dynamic(module)
    arguments = arguments_of(module)
    given = _given(arguments, inputs, samples)
    fixed = _fixed_constants(arguments, constants or {})
    leaves = _leaves(arguments, given, module, notes)
    hints = read_hints(module, leaves)
    trial = Trial(module, arguments, stateful=may_change_state(module), seed=seed)
    search = Search(trial, hints.sizes, seconds=seconds)
    float_dtype = _float_dtype(module)
    traced = traced_leaves(path, arguments, leaves)
    tensors = {name: _guesses(name, given, hints, float_dtype, traced.get(name)) for name in leaves}
    scalars = _scalars(arguments, fixed, hints)
    found = search.find(tensors, scalars) or _with_optional(search, arguments, tensors, scalars, hints, float_dtype)
    if found is None:
        raise _nothing_runs(arguments, given, hints, search, path, seed)
    return _told(trial, found, given, notes, search.tried, scalars, fixed) | {"training": training}


def _given(
    arguments: list[Argument], inputs: list[dict[str, Any]] | None, samples: dict[str, dict[str, Any]] | None
) -> dict[str, TensorSpec]:
    given = {spec["name"]: TensorSpec.from_dict(spec) for spec in inputs or []}
    for name, sample in (samples or {}).items():
        given.setdefault(name, TensorSpec(name, str(sample["dtype"]), tuple(sample["shape"])))
    heads = {argument.name: argument for argument in arguments}
    for name in given:
        argument = heads.get(name) or heads.get(name.partition(".")[0])
        if argument is None or argument.is_scalar:
            raise SignatureError(
                f"the model has no tensor input {name!r}",
                wanted="its inputs by their names: " + ", ".join(f"{a.name} ({a.text})" for a in arguments),
                mend="use one of these names" if argument is None else f"give {name} a value, not a shape",
            )
    return given


def _fixed_constants(arguments: list[Argument], constants: dict[str, Scalar]) -> dict[str, Scalar]:
    known = {argument.name for argument in arguments if argument.is_scalar or argument.optional}
    wrong = sorted(set(constants) - known)
    if wrong:
        raise SignatureError(
            f"the model has no argument {', '.join(wrong)} that takes a plain value",
            wanted="its plain arguments: " + (", ".join(sorted(known)) or "none"),
            mend="use one of these names",
        )
    return constants


def _leaves(arguments: list[Argument], given: dict[str, TensorSpec], module: Any, notes: list[str]) -> dict[str, Any]:
    """Tensor leaves -> (argument, member). Optional tensors only where they are given."""
    leaves: dict[str, Any] = {}
    for argument in arguments:
        own = [name for name in given if name == argument.name or name.startswith(argument.name + ".")]
        if argument.is_tensor and (own or not (argument.optional or argument.has_default)):
            leaves[argument.name] = (argument.name, None)
        elif argument.parts and not argument.has_default:
            leaves.update({part: (argument.name, int(part.rpartition(".")[2])) for part in argument.parts})
        elif own:
            leaves.update({name: (argument.name, _member(name, argument)) for name in own})
        elif not (argument.is_tensor or argument.is_scalar or argument.has_default or argument.optional):
            from dlconv.convert.torchscript_members import members_of

            members = members_of(module, argument)
            if not members:
                name = argument.name
                notes.append(
                    f"the list {name} may be of any length and was supposed to hold one tensor; "
                    f"for two: --input {name}.0:SHAPE --input {name}.1:SHAPE"
                )
            leaves.update({f"{argument.name}.{key}": (argument.name, key) for key in members or [0]})
    return leaves


def _member(name: str, argument: Argument) -> int | str:
    member = name.partition(".")[2]
    return member if argument.kind == "DictType" else int(member)


def _float_dtype(module: Any) -> str:
    counts: dict[str, int] = {}
    for tensor in stored_tensors(module):
        if tensor.is_floating_point():
            counts[dtype_name(tensor.dtype)] = counts.get(dtype_name(tensor.dtype), 0) + tensor.numel()
    return max(counts, key=lambda name: counts[name]) if counts else "float32"


def _guesses(
    name: str, given: dict[str, TensorSpec], hints: Hints, float_dtype: str, traced: Traced | None
) -> list[Guess]:
    inferred = tensor_guesses(name, hints, float_dtype)
    if traced is not None:
        inferred = [as_traced(traced, inferred), *inferred]
    spec = given.get(name)
    if spec is None:
        return inferred
    read = next((guess for guess in inferred if guess.dtype == "int64" and guess.high is not None), Guess("", ()))
    if spec.shape is None:
        return [guess for guess in inferred if spec.dtype in {"", guess.dtype}]
    shape = tuple(
        size if isinstance(size, int) else f"{_role(spec, axis)}@{size}" for axis, size in enumerate(spec.shape)
    )
    dtypes = [spec.dtype] if spec.dtype else list(dict.fromkeys(guess.dtype for guess in inferred))
    return [Guess(dtype, shape, read.high, read.low, "given") for dtype in dtypes]


def _role(spec: TensorSpec, axis: int) -> str:
    rank = len(spec.shape or ())
    if axis == 0:
        return "batch"
    return "side" if rank >= 4 and axis >= rank - 2 else "length"


def _scalars(arguments: list[Argument], fixed: dict[str, Scalar], hints: Hints) -> dict[str, list[Any]]:
    scalars: dict[str, list[Any]] = {}
    for argument in arguments:
        if argument.name in fixed:
            scalars[argument.name] = [fixed[argument.name]]
        elif argument.is_scalar and not argument.optional:
            default = [argument.default] if argument.has_default else []
            scalars[argument.name] = default or scalar_guesses(argument.name, argument.kind, hints)
    return scalars


def _with_optional(
    search: Search,
    arguments: list[Argument],
    tensors: dict[str, list[Guess]],
    scalars: dict[str, list[Any]],
    hints: Hints,
    float_dtype: str,
) -> Found | None:
    """The search again with the optional tensors given."""
    more = {
        a.name: tensor_guesses(a.name, hints, float_dtype) for a in arguments if a.is_tensor and a.name not in tensors
    }
    return search.find({**tensors, **more}, scalars) if more else None


def _told(
    trial: Trial,
    found: Found,
    given: dict[str, TensorSpec],
    notes: list[str],
    tried: list[str],
    scalars: dict[str, list[Any]],
    fixed: dict[str, Scalar],
) -> dict[str, Any]:
    names = {
        v: v.partition("@")[2]
        for v in found.sizes
        if any(v.partition("@")[2] in (s.shape or ()) for s in given.values())
    }
    outputs, ran = output_specs(trial, found, names)
    specs = tuple(
        TensorSpec(
            name, guess.dtype, tuple(names.get(s, found.sizes[s]) if isinstance(s, str) else s for s in guess.shape)
        )
        for name, guess in found.guesses.items()
    )
    behaviour = observe(trial.module, trial.arguments, found.inputs(), found.constants)
    signature = Signature(specs, outputs, tuple(found.constants.items()))
    values = {**found.constants, **draw(found.inputs(), trial.seed)}
    signature = torchscript_quantised.with_grids(
        signature, trial.module, values, lambda them: call(trial.module, trial.arguments, them)
    )
    notes += _notes(found, given, names, scalars, fixed)
    sequence = False
    if behaviour.stateful:
        notes.append(f"the model keeps state from call to call ({', '.join(behaviour.state) or 'in lists'})")
        unlifted = why_unlifted(trial.module, trial.arguments, signature, values)
        sequence = not unlifted
        notes += [f"its state cannot be made inputs and outputs: {unlifted}"] if unlifted else []
    if not behaviour.deterministic:
        notes.append("the model draws random numbers: two runs of one input differ")
    return {
        "signature": signature.to_dict(),
        "notes": notes,
        "tried": tried,
        "flag": " ".join([*(f"--input {_flag(spec)}" for spec in specs), *_constant_flags(found.constants)]),
        "bounds": _bounds(trial, found),
        "sizes": ran,
        "stateful": behaviour.stateful,
        "state": list(behaviour.state),
        "sequence": sequence,
        "deterministic": behaviour.deterministic,
    }


def _flag(spec: TensorSpec) -> str:
    return str(spec) if spec.shape else f"{spec.name}:scalar:{spec.dtype}"


def _constant_flags(constants: dict[str, Any]) -> list[str]:
    return [f"--input {name}={value}" for name, value in constants.items()]


def _notes(
    found: Found,
    given: dict[str, TensorSpec],
    names: dict[str, str],
    scalars: dict[str, list[Any]],
    fixed: dict[str, Scalar],
) -> list[str]:
    notes = []
    for name, guess in found.guesses.items():
        free = [found.sizes[s] for s in guess.shape if isinstance(s, str) and s not in names]
        if name not in given:
            basis = f"read from {guess.reason}" if guess.reason else "supposed"
            chosen = f"; of its free sizes the usual were taken ({', '.join(map(str, free))})" if free else ""
            notes.append(f"the input {name} was inferred, {basis}, and proved by a run{chosen}")
    for name, values in scalars.items():
        if name not in fixed:
            others = f" out of {', '.join(map(repr, values[:4]))}" if len(values) > 1 else " (its default)"
            notes.append(f"the argument {name} is baked in as {found.constants[name]!r}{others}")
    return notes


def _bounds(trial: Trial, found: Found) -> dict[str, list[int]]:
    """The range of each integer input: its table's rows, lowered until the greatest value runs."""
    bounds = {}
    for name, item in found.inputs().items():
        if not item.dtype.startswith(("int", "uint")):
            continue
        if item.low == item.high == 1:  # a mask, tried with ones
            bounds[name] = [0, 1] if _runs_at(trial, found, name, 0, 1) else [1, 1]
            continue
        rows = found.outcome.rows.get(name)
        high = max(item.high, rows - 1) if rows is not None and found.guesses[name].high is None else item.high
        while high > item.low and not _runs_at(trial, found, name, high, high):
            high = item.low + (high - item.low) // 2
        bounds[name] = [item.low, high]
    return bounds


def _runs_at(trial: Trial, found: Found, name: str, low: int, high: int) -> bool:
    inputs = found.inputs()
    inputs[name] = Drawn(inputs[name].dtype, inputs[name].shape, low, high)
    return trial.run(inputs, found.constants).ran


def _nothing_runs(
    arguments: list[Argument], given: dict[str, TensorSpec], hints: Hints, search: Search, path: str, seed: int
) -> SignatureError:
    has = "; ".join(
        f"{argument.name} ({argument.text})" + _wants(hints, argument.name)
        for argument in arguments
        if not argument.has_default
    )
    mend = "--input " + " --input ".join(f"{a.name}:SHAPE:DTYPE" for a in arguments if not a.is_scalar)
    if not given:
        met = f"no shape was found with which the model runs ({search.trial.count} runs)"
        return SignatureError(met, wanted=f"inputs for {has}", mend=mend, problems=tuple(search.tried[:20]))
    with contextlib.suppress(SignatureError):
        mend = infer(path, seed=seed, seconds=20.0)["flag"] + " runs"
    asked = ", ".join(str(spec) for spec in given.values())
    return SignatureError(
        f"the model does not run with {asked}", wanted=f"inputs for {has}", mend=mend, problems=tuple(search.tried[:20])
    )


def _wants(hints: Hints, name: str) -> str:
    read = hints.shapes.get(name, [])
    if not read:
        return ""
    best = max(read, key=lambda hint: hint.weight)
    return f", whose {best.reason} takes {'x'.join(map(str, best.shape))} {'integers' if best.integer else 'floats'}"
