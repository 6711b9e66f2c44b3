"""The search for what stays in float32: by noises that are known, and on models with planted faults, emulated."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.asked.bars import Bars, OutputBars
from dlconv.asked.options import ExportOptions
from dlconv.errors import ConversionError
from dlconv.metrics.scoring import open_task
from dlconv.model import Signature, TensorSpec
from dlconv.precision import keep_search
from dlconv.precision.keep_search import search
from dlconv.precision.noise import emulate
from dlconv.precision.reducing import in_units
from dlconv.reference.source import Reference
from dlconv.samples import SampleSet
from dlconv.validators.answers import Answers
from dlconv.workers.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
NODES = [f"n{number}" for number in range(40)]


def added(weights: dict[str, float]) -> Callable[[frozenset[str]], float]:
    """Noises that add up in squares over the nodes that are not kept."""
    return lambda keep: math.sqrt(sum(noise**2 for name, noise in weights.items() if name not in keep))


def quiet(_: str) -> None:
    return


@pytest.mark.parametrize("seed", range(20))
def test_the_sensitive_nodes_stay_and_no_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    planted = list(random.choice(NODES, 3, replace=False))
    noises = dict.fromkeys(NODES, 0.05) | {planted[0]: math.inf, planted[1]: 5.0, planted[2]: 2.0}
    found = search(added(noises), NODES, budget_s=60, tell=quiet)
    assert found.keep == tuple(planted) and found.noise <= 1
    assert found.tries <= 4 * math.ceil(math.log2(len(NODES))) * 3


def test_nothing_stays_where_nothing_has_to() -> None:
    found = search(added(dict.fromkeys(NODES, 0.01)), NODES, budget_s=60, tell=quiet)
    assert found.keep == () and found.tries == 1


def test_what_turns_out_needless_is_left_out() -> None:
    """The errors of two cancel but for 1.0: with the third kept, neither has to stay. Alone the first is noisiest."""
    signed, third = {"n0": 1.7, "n5": -0.7}, {"n8": 1.4}

    def noise(keep: frozenset[str]) -> float:
        left = sum(error for name, error in signed.items() if name not in keep)
        return math.hypot(left, sum(error for name, error in third.items() if name not in keep))

    told: list[str] = []
    found = search(noise, NODES[:10], budget_s=60, tell=told.append)
    assert found.keep == ("n8",) and told[0].startswith("n0 stays") and told[-1] == "n0 need not stay"


def search_noise(noises: dict[str, float], keep: list[str]) -> float:
    return added(noises)(frozenset(keep))


@pytest.mark.parametrize("seed", range(20))
def test_many_that_are_needed_are_found_in_a_few_emulations_a_node(seed: int) -> None:
    """Where many nodes have to stay: a search that bisects for each anew takes some 2 log2(n) for each."""
    random = np.random.default_rng(seed)
    nodes = [f"n{number}" for number in range(100)]
    noises = dict(zip(nodes, random.permutation(np.geomspace(0.005, 2.0, 100)), strict=True))
    found = search(added(noises), nodes, budget_s=60, tell=quiet)
    by_size = sorted(nodes, key=lambda name: -noises[name])
    needed = next(count for count in range(100) if search_noise(noises, by_size[:count]) <= 1)
    assert list(found.keep) == by_size[:needed] and found.is_smallest
    assert found.tries <= 2 * len(nodes) + needed + 8 * 2 * math.ceil(math.log2(len(nodes)))


def test_what_would_keep_nearly_all_is_refused_with_the_share() -> None:
    with pytest.raises(ConversionError, match="39 of 40 nodes would have to stay in float32"):
        search(added(dict.fromkeys(NODES, 0.9)), NODES, budget_s=60, tell=quiet)


def test_the_fewest_that_were_seen_to_hold_are_given_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    noises = dict.fromkeys(NODES, 0.05) | {"n7": 5.0, "n8": 5.0, "n30": 3.0}
    whole = search(added(noises), NODES, budget_s=60, tell=quiet)
    assert set(whole.keep) == {"n7", "n8", "n30"} and whole.is_smallest
    sizes: list[int] = []
    for ticks in range(3, whole.tries + 1):
        clock = iter(range(1000))
        monkeypatch.setattr(keep_search.time, "monotonic", lambda clock=clock: next(clock))
        try:
            found = search(added(noises), NODES, budget_s=ticks, tell=quiet)
        except ConversionError as error:  # nothing that holds was seen yet but all of them
            assert "within" in str(error) and not sizes
            continue
        assert search_noise(noises, list(found.keep)) <= 1
        assert found.is_smallest == (found.tries == whole.tries)
        sizes.append(len(found.keep))
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1] == 3


def test_what_cannot_be_held_and_what_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConversionError, match="even with every node"):
        search(lambda keep: math.nan, NODES, budget_s=60, tell=quiet)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(keep_search.time, "monotonic", lambda: next(clock))
    with pytest.raises(ConversionError, match="within 45 s"):
        search(added(dict.fromkeys(NODES, 5.0)), NODES, budget_s=45, tell=quiet)


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with Crew(tmp_path_factory.mktemp("logs"), slots=1, memory_limit_bytes=None, timeout_s=120) as made:
        yield made


@pytest.mark.onnx
@pytest.mark.parametrize("fault", ["overflow", "sensitive"])
def test_planted_faults_are_kept_first(fault: str, tmp_path: Path, crew: Crew) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        place = int(random.integers(1, 7))
        path, reference = chain(tmp_path, random, place, fault)
        names = [f"m{number}" for number in range(9)]
        precision = "float16" if fault == "overflow" else "int8"

        def noise(
            keep: frozenset[str], path: Path = path, reference: Reference = reference, precision: str = precision
        ) -> float:
            made = emulate(path, SIGNATURE, reference, precision, crew, keep=sorted(keep))
            return made.outputs[0].error / (0.01 if precision == "float16" else 0.1)

        found = search(noise, names, budget_s=120, tell=quiet)
        assert found.keep[0] == f"m{place}", (seed, place, found)
        assert len(found.keep) <= 2


@pytest.mark.onnx
def test_what_the_task_metric_needs_is_kept_first(tmp_path: Path, crew: Crew) -> None:
    """The same sensitive layer, judged by the classes: without it the best class holds, with it it does not."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        place = int(random.integers(1, 7))
        path, reference = chain(tmp_path, random, place, "sensitive", rows=100)
        labels = np.concatenate([answer["y"].argmax(axis=1) for answer in reference.answers.y32])
        np.savez(tmp_path / "labels.npz", y=labels)
        task = open_task("top1", tmp_path / "labels.npz", SIGNATURE)
        bars = Bars(outputs={"*": OutputBars(max_error=1.0, max_drop=0.05)})
        options = ExportOptions(("onnx",), tmp_path, precision="int8", bars=bars)

        def noise(keep: frozenset[str], path: Path = path, reference: Reference = reference, task: Any = task,
                  options: ExportOptions = options) -> float:  # fmt: skip
            return in_units(emulate(path, SIGNATURE, reference, "int8", crew, keep=sorted(keep), task=task), options)

        found = search(noise, [f"m{number}" for number in range(9)], budget_s=120, tell=quiet)
        assert found.keep[0] == f"m{place}" and len(found.keep) <= 2, (seed, place, found)
        assert noise(frozenset()) > 1 >= found.noise


SIGNATURE = Signature((TensorSpec("x", "float32", ("N", 16)),), (TensorSpec("y", "float32", ("N", 16)),))


def chain(folder: Path, random: np.random.Generator, place: int, fault: str, rows: int = 4) -> tuple[Path, Reference]:
    """Nine products of orthogonal matrices. Overflow: one is scaled beyond float16, the next one back. Sensitive: one
    has weights a thousand times the others for a channel that is always 0: in 8 bits they drown the others."""
    weights = [np.linalg.qr(random.standard_normal((16, 16)))[0] for _ in range(9)]
    if fault == "overflow":
        weights[place], weights[place + 1] = weights[place] * 2.0**18, weights[place + 1] / 2.0**18
    else:
        weights[place - 1][:, 3] = 0
        weights[place][3] *= 2.0**10
    stored = [_stored(f"w{number}", weight.astype(np.float32)) for number, weight in enumerate(weights)]
    tensors = ["x", *(f"h{number}" for number in range(8)), "y"]
    nodes = [
        _node("MatMul", [tensors[number], f"w{number}"], [tensors[number + 1]], name=f"m{number}")
        for number in range(9)
    ]
    path: Path = _save(folder, nodes, [_value("x", ["N", 16])], [_value("y", ["N", 16])], stored)
    samples = [{"x": random.standard_normal((rows, 16)).astype(np.float32)} for _ in range(3)]
    y64 = []
    for sample in samples:
        y = sample["x"].astype(np.float64)
        for weight in weights:
            y = y @ weight.astype(np.float32).astype(np.float64)
        y64.append({"y": y})
    y32 = tuple({"y": each["y"].astype(np.float32)} for each in y64)
    reference = Reference(
        SampleSet(tuple(samples), "user"), Answers(y32, tuple(y64)), {"y": 1e-7}, "numpy", "float64", "", {}
    )
    return path, reference
