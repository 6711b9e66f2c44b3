"""No planted fault passes, and no model without one is accused. The table is docs/faults.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_judge import Bench
from fault_models import BLIND, MODELS
from fault_table import FAULTS, Fault

from dlconv.asked.options import ExportOptions
from dlconv.pipeline import export

if TYPE_CHECKING:
    from dlconv.workers.crew import Crew

pytestmark = pytest.mark.onnx


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, crew: Crew) -> Bench:
    return Bench(tmp_path_factory.mktemp("faults"), crew)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_fault(name: str, bench: Bench) -> None:
    """Else a fault could be "found" where nothing was planted."""
    judged = bench.original(name).judge(bench.original(name).path)
    assert judged.verdict.word == ("INCONCLUSIVE" if name in BLIND else "PASS"), judged


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found(fault: Fault, bench: Bench) -> None:
    judged = bench.judge(fault)
    assert judged.verdict.word == fault.expect, judged
    assert judged.why


@pytest.mark.slow
@pytest.mark.openvino
def test_a_fault_that_nobody_planted(bench: Bench, tmp_path: Path) -> None:
    """OpenVINO's CPU plugin computes int64 in int32: sums beyond 2^31 come out wrong by 2^32, and nothing is said."""
    path = bench.original("integers").path
    (made,) = export(path, ExportOptions(("openvino",), tmp_path)).outcomes
    assert made.word == "FAIL"
    (wrong,) = (check for check in made.checks if check.verdict.word == "FAIL")
    worst = wrong.figures["worst"]
    assert (wrong.subject, worst["reference"] - worst["candidate"]) == ("large", 2**32)


def test_the_table_is_as_long_as_it_says() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 60
    assert all(fault.why for fault in FAULTS if fault.expect != "FAIL")
