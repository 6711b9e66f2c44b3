from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlconv import plugins
from dlconv.asked.options import parse_targets
from dlconv.candidate import RUNTIMES, find_runtime, runtime_for
from dlconv.convert.edges import GRAPH, whole_graph
from dlconv.convert.graph import Converter
from dlconv.errors import PluginError, RequestError
from dlconv.formats import Format
from dlconv.judging import judge_again
from dlconv.plugins import Plugin
from dlconv.testing import evidence_of
from dlconv.validators.judging import checks, judge
from dlconv.validators.verdict import Check, Verdict
from dlconv.workers import toolchains

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOOLCHAIN = toolchains.Toolchain("abacus", "counts", ("abacus-of-nobody>=1,<2",), ">=3.10", (), "", "")
RUNTIME = replace(RUNTIMES["onnx"], name="abacus", toolchain="abacus", adapter="abacus.runtime", factor=40.0)
EDGE = Converter("onnx", "abacus", "abacus.onnx_to_abacus", "abacus", 1, "beads")
WHOLE = Plugin((EDGE,), {"abacus": RUNTIME}, (TOOLCHAIN,))


class Point:
    def __init__(self, name: str, found: Any) -> None:
        self.name, self.value, self.found = name, "some:thing", found

    def load(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Has these plugins installed, by name."""

    def put(**found: Any) -> None:
        points = [Point(name, each) for name, each in found.items()]
        monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == plugins.GROUP else [])
        plugins.installed.cache_clear()

    yield put
    monkeypatch.undo()
    plugins.installed.cache_clear()


def test_a_target_of_a_plugin_is_one_like_the_others(install: Callable[..., None]) -> None:
    install(abacus=WHOLE)
    assert parse_targets("onnx,abacus") == ("onnx", "abacus")
    routes = whole_graph().routes(Format.ONNX, "abacus")
    assert routes and all(route.names[-1] == "onnx_to_abacus" for route in routes)
    assert runtime_for("abacus") is RUNTIME
    assert toolchains.get("abacus") is TOOLCHAIN and toolchains.every()[-1] is TOOLCHAIN


def test_without_it_there_is_no_such_target(install: Callable[..., None]) -> None:
    install()
    with pytest.raises(RequestError, match="unknown target 'abacus'"):
        parse_targets("abacus")
    with pytest.raises(RequestError, match="there is no target"):
        whole_graph().routes(Format.ONNX, "abacus")
    assert find_runtime("abacus") is None and whole_graph().edges == GRAPH.edges


def test_dlconvs_own_routes_stay_as_they_are(install: Callable[..., None]) -> None:
    before = [route.names for route in GRAPH.routes(Format.TORCHSCRIPT, "openvino")]
    install(abacus=WHOLE)
    assert [route.names for route in whole_graph().routes(Format.TORCHSCRIPT, "openvino")] == before


def test_what_its_toolchain_lacks_is_told_with_pip(install: Callable[..., None]) -> None:
    install(abacus=WHOLE)
    where = toolchains.locate(TOOLCHAIN)
    assert isinstance(where, toolchains.Missing)
    assert where.mend == "pip install 'abacus-of-nobody>=1,<2'"
    assert "abacus-of-nobody" in where.problems[0]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"broken": ImportError("no module beads")}, "broken cannot be loaded: ImportError: no module beads"),
        ({"strange": object()}, "strange is a object"),
        ({"one": WHOLE, "two": WHOLE}, "two calls something abacus"),
        ({"evil": Plugin(runtimes={"../x": RUNTIME})}, "calls something ../x"),
    ],
)
def test_what_cannot_be_used_is_an_error_and_never_left_out(
    install: Callable[..., None], found: dict[str, Any], told: str
) -> None:
    install(**found)
    with pytest.raises(PluginError) as error:
        plugins.installed()
    assert told in error.value.met and error.value.exit_code == 3


def test_a_converter_does_not_take_the_place_of_dlconvs_own(install: Callable[..., None]) -> None:
    install(thief=Plugin((replace(GRAPH.edges[0], cost=0),)))
    with pytest.raises(PluginError, match="called as dlconv's own"):
        whole_graph()


def asks(word: str) -> Callable[..., Iterator[Check]]:
    def validator(evidence: Any, bars: Any) -> Iterator[Check]:
        yield Check("asked", Verdict(word, () if word == "PASS" else ("so it is",)))  # type: ignore[arg-type]

    return validator


def test_a_validator_can_make_a_verdict_worse_and_never_better(install: Callable[..., None]) -> None:
    install(asker=Plugin(validators=(asks("PASS"),)))
    assert judge(evidence_of(1e-7)).word == "PASS"
    assert judge(evidence_of(1e-2)).word == "FAIL"
    assert "asked" in [check.name for check in checks(evidence_of(1e-7))]
    install(asker=Plugin(validators=(asks("FAIL"),)))
    assert judge(evidence_of(1e-7)) == Verdict("FAIL", ("so it is",))


def raises(evidence: Any, bars: Any) -> Any:
    raise ZeroDivisionError("beads")


def mumbles(evidence: Any, bars: Any) -> Any:
    return ["fine"]


@pytest.mark.parametrize(("validator", "told"), [(raises, "raised ZeroDivisionError"), (mumbles, "answered a str")])
def test_a_validator_that_judges_nothing_is_no_pass(
    install: Callable[..., None], validator: Callable[..., Any], told: str
) -> None:
    install(asker=Plugin(validators=(validator,)))
    verdict = judge(evidence_of(1e-7))
    assert verdict.word == "INCONCLUSIVE" and told in verdict.reasons[0] and "asker." in verdict.reasons[0]


@pytest.mark.onnx
def test_saved_evidence_is_asked_too(
    install: Callable[..., None], digits_bundle: Callable[[str], Path], tmp_path: Path
) -> None:
    place = tmp_path / "digits-onnx-fp32"
    shutil.copytree(digits_bundle("onnx"), place)
    install(asker=Plugin(validators=(asks("FAIL"),)))
    assert judge_again([place], None).outcomes[0].word == "FAIL"
