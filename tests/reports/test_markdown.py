from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dlconv.reports.markdown import document, text

if TYPE_CHECKING:
    from dlconv.records.outcome import Report

MADE = runpy.run_path(str(Path(__file__).with_name("made.py")))
REPORTS: dict[str, tuple[Report, int]] = MADE["REPORTS"]


def tables(markdown: str) -> list[list[list[str]]]:
    """The cells of each table, as GitHub cuts them: at each pipe that no backslash stands before."""
    found = re.findall(r"(?:^\|.*\n?)+", markdown, re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()] for table in found]


@pytest.mark.parametrize("name", REPORTS)
def test_every_table_is_whole_and_every_fold_closed(name: str) -> None:
    report, code = REPORTS[name]
    told = document(report)
    for table in tables(told):
        assert len({len(row) for row in table}) == 1, table
        assert set(table[1]) == {"---"}
    assert told.count("<details>") == told.count("</details>") == told.count("</summary>")
    assert told.startswith(f"# dlconv: {'passed' if code == 0 else 'not passed'}\n")
    assert f"Exit code {code}" in told


def test_the_matrix_is_model_by_target_by_precision() -> None:
    report = REPORTS["one of each"][0]
    passed = report.outcomes[0]
    other = replace(passed, model="other", target="tflite")
    heads, _, *rows = tables(document(replace(report, outcomes=(*report.outcomes, other))))[0]
    assert [cell.strip() for cell in heads] == ["model", "precision", "onnx", "openvino", "onnxruntime", "tflite"]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["digits", "fp32", "✅ PASS", "❌ FAIL", "❔ INCONCLUSIVE", "💥 ERROR"],
        ["other", "fp32", "-", "-", "-", "✅ PASS"],
    ]


def test_a_failure_tells_by_how_much_where_and_what_next() -> None:
    told = document(REPORTS["one failed"][0])
    at = told.index("## digits-openvino-fp32: FAIL")
    assert "| z | 0.003 | 4e-06 | 750 | \\[0, 7\\] of sample 2: 1.5 for 1.25 |" in told[at:]
    assert "```sh\ndlconv verify out/digits-openvino-fp32\n```" in told[at:]
    assert "## digits-onnx-fp32" not in told


def test_figures_and_environment_are_folded_away() -> None:
    told = document(REPORTS["one of each"][0])
    fold = told[told.index("<details>\n<summary>Figures of digits-onnx-fp32") :]
    assert "| y | PASS | 1e-07 | 4e-06 | 1e-07 | 1e-05 |" in fold  # what the cosine lacks to 1
    assert "| answers | PASS | samples: 8 |" in fold
    assert told.count("dlconv 0.2.0, onnxruntime 1.31.1") == 1  # three outcomes, one machine
    assert "| controls | INCONCLUSIVE | 0 of 1 hold, not: a NaN in y |" in told
    assert told.count("note: made for image:1x1x8x8 alone") == 1
    short = document(REPORTS["one of each"][0], details=False)
    assert "<details>" not in short and "## digits-openvino-fp32: FAIL" in short


def test_a_machine_is_told_once_with_the_packages_of_all_its_workers() -> None:
    report = REPORTS["one failed"][0]
    first, second = report.outcomes
    other = {**MADE["ENVIRONMENT"], "packages": {"dlconv": "0.2.0", "openvino": "2026.4.1"}}
    together = replace(report, outcomes=(first, replace(second, body={"environment": other})))
    assert "- packages: dlconv 0.2.0, onnxruntime 1.31.1, openvino 2026.4.1\n" in document(together)
    elsewhere = replace(report, outcomes=(first, replace(second, body={"environment": {**other, "cpu": "Another"}})))
    assert document(elsewhere).count("- CPU: ") == 2 and "digits-openvino-fp32:\n\n- CPU: Another" in document(
        elsewhere
    )


def test_accuracy_is_told_where_there_were_labels() -> None:
    score = MADE["parity"](accuracy={"candidate": 63, "reference": 62, "count": 64})
    report = replace(REPORTS["all passed"][0], outcomes=(MADE["outcome"](score),))
    assert "| 63 of 64 right, the source 62 |" in document(report)
    assert "accuracy" not in document(REPORTS["all passed"][0])


def test_nothing_judged_is_said() -> None:
    assert "**nothing was judged" in document(REPORTS["nothing at all"][0])
    assert "SKIPPED (allowed)" in document(REPORTS["one may be lacking"][0])


def test_text_has_no_meaning_of_its_own() -> None:
    assert text("a|b\n| c | <img src=x> *d* `e` [f](g) \x1b[31m") == (
        "a\\|b \\| c \\| &lt;img src=x&gt; \\*d\\* \\`e\\` \\[f\\](g) \\[31m"
    )
    assert "<c>" not in document(REPORTS["ugly"][0]).replace("```sh\n", "").split("dlconv verify")[0]
