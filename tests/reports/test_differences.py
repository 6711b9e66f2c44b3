"""What `dlconv diff` found, told in lines and as a page; nothing that a model says becomes part of either."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from dlconv.diffing.difference import Difference
from dlconv.diffing.parting import Operator, TensorError, partings
from dlconv.diffing.repro import Repro
from dlconv.reports import as_json, differences
from dlconv.validators.evidence import Worst

EVIL = "<script>alert(1)</script>\x1b[31m\nnext"


def difference(*noises: float, name: str = "op", stretch: bool = False) -> Difference:
    operators = [
        Operator(f"{name}{place}", "MatMul", (f"t{place - 1}",) if place else ("x",), (f"t{place}",))
        for place in range(len(noises))
    ]
    errors = {
        f"t{place}": TensorError(f"t{place}", noise * 1e-3, 1e-3, 70000.0, "float32", Worst(1, (2, 3), 1.5, math.inf))
        for place, noise in enumerate(noises)
        if not (stretch and place == 1)
    }
    found = partings(operators, errors)
    last = (errors[f"t{len(noises) - 1}"],)
    return Difference("c.onnx", f"{name}.onnx", "float16", 40.0, "float64", 2, len(noises), found, last, 5, 1.5)


def test_the_first_parting_and_the_most_growth_are_told_apart() -> None:
    text = "\n".join(differences.lines(difference(1, 50, 60, math.inf), 2))
    assert text.startswith("PARTED  c.onnx against op.onnx (float64)")
    assert "they part first at MatMul op1: an error of 0.05 of the scale" in text
    assert "the error grows most at MatMul op3: overflow, where the right values reach 7e+04" in text
    assert "t3[2, 3] of sample 1: 1.5 is right, inf was given" in text
    assert "... and 2 operators with less growth" in text


def test_an_error_that_adds_up_has_no_culprit() -> None:
    slow = difference(2, 4, 8, 16, 32, 64)
    assert slow.word == "PARTED" and "no operator stands out" in "\n".join(differences.lines(slow, 9))
    assert "stands out" not in "\n".join(differences.lines(difference(1, 50), 9))


def test_what_goes_together_and_what_is_not_known() -> None:
    together = difference(1, 2, 3)
    assert together.word == "TOGETHER" and together.first is None
    text = "\n".join(differences.lines(together, 9))
    assert "no tensor is farther apart than 40 times what float16 explains" in text and "less growth" not in text
    nothing = replace(together, partings=(), outputs=())
    assert nothing.word == "INCONCLUSIVE" and "nothing was compared" in differences.lines(nothing, 9)[-1]


def test_a_stretch_is_told_as_one_and_a_part_by_what_it_shows(tmp_path: Path) -> None:
    found = replace(difference(1, 2, 500, stretch=True), notes=(f"note {EVIL}",))
    text = "\n".join(differences.lines(replace(found, repro=Repro(tmp_path, 1, True, "")), 9))
    assert "somewhere in 2 operators" in text and "the operator alone shows it" in text
    assert "\x1b" not in text and "note: note <script>" in text
    text = "\n".join(differences.lines(replace(found, repro=Repro(tmp_path, 3, False, "")), 9))
    assert "3 operators do not show it by themselves" in text


def test_as_json_it_is_strict(tmp_path: Path) -> None:
    found = replace(difference(1, math.inf, math.inf), repro=Repro(tmp_path, 1, True, "said"))
    told = json.loads(as_json.document("diff", found.to_dict()))
    assert told["word"] == "PARTED" and told["first"]["operator"] == "op1" and told["first"]["growth"] == "inf"
    assert [each["place"] for each in told["ranked"]] == [1, 0, 2] and told["repro"]["shows"] is True


def test_the_page_tells_the_same_and_runs_nothing() -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from dlconv.reports.html import page

    text = page.difference(difference(1, 2, math.inf, *[3.0] * 30, name=EVIL), command="dlconv diff a")
    assert "<script" not in text and "&lt;script&gt;" in text and "\x1b" not in text
    assert "Noise along the graph" in text and "<svg" in text and "8 others" in text and "dlconv diff a" in text
    assert "1 beyond" in text and "growth up to inf" in text
    for word in (difference(1, 2), replace(difference(1), partings=(), outputs=())):
        assert "</html>" in page.difference(word)
