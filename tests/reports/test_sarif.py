from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from dlconv.reports import sarif
from dlconv.validators.verdict import Check, Verdict

if TYPE_CHECKING:
    from dlconv.records.outcome import Report

MADE = runpy.run_path(str(Path(__file__).with_name("made.py")))
REPORTS: dict[str, tuple[Report, int]] = MADE["REPORTS"]


def closed(required: dict[str, Any], **besides: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **besides},
        "required": list(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
MESSAGE = closed({"text": TEXT})
# The part of SARIF 2.1.0 that is written, with what GitHub's code scanning asks for besides the standard.
PART = closed(
    {
        "$schema": TEXT,
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": closed(
                {
                    "tool": closed(
                        {
                            "driver": closed(
                                {
                                    "name": {"const": "dlconv"},
                                    "semanticVersion": TEXT,
                                    "rules": {
                                        "type": "array",
                                        "items": closed(
                                            {
                                                "id": TEXT,
                                                "name": TEXT,
                                                "shortDescription": MESSAGE,
                                                "fullDescription": MESSAGE,
                                            }
                                        ),
                                    },
                                }
                            )
                        }
                    ),
                    "invocations": {
                        "type": "array",
                        "items": closed({"executionSuccessful": {"type": "boolean"}, "exitCode": {"type": "integer"}}),
                    },
                    "columnKind": {"const": "unicodeCodePoints"},
                    "results": {
                        "type": "array",
                        "items": closed(
                            {
                                "ruleId": TEXT,
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["error", "warning"]},
                                "message": MESSAGE,
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": closed(
                                        {
                                            "physicalLocation": closed(
                                                {
                                                    "artifactLocation": closed(
                                                        {"uri": {"type": "string", "pattern": "^[\\w./%~-]+$"}}
                                                    ),
                                                    "region": closed({"startLine": {"const": 1}}),
                                                }
                                            ),
                                            "logicalLocations": {
                                                "type": "array",
                                                "items": closed(
                                                    {"name": TEXT, "fullyQualifiedName": TEXT, "kind": TEXT}
                                                ),
                                            },
                                        }
                                    ),
                                },
                                "partialFingerprints": {"type": "object", "additionalProperties": TEXT},
                            }
                        ),
                    },
                }
            ),
        },
    }
)


def written(report: Report, root: Path = Path("/checkout")) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sarif.document(report, root), parse_constant=pytest.fail)
    return found["runs"][0]


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_valid_and_tells_of_what_fails_the_run(name: str) -> None:
    report, code = REPORTS[name]
    text = sarif.document(report, Path("/checkout"))
    jsonschema.validate(json.loads(text), PART)
    run = json.loads(text.encode())["runs"][0]
    assert run["invocations"] == [{"executionSuccessful": code == 0, "exitCode": code}]
    assert bool(run["results"]) == (code != 0)
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(ids[result["ruleIndex"]] == result["ruleId"] for result in run["results"])


def test_levels_places_and_messages() -> None:
    results = written(REPORTS["one of each"][0])["results"]
    assert [(result["ruleId"], result["level"]) for result in results] == [
        ("error", "error"),
        ("parity", "error"),
        ("controls", "warning"),
    ]
    place = results[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == "out/digits-openvino-fp32"
    assert results[1]["message"]["text"].splitlines() == [
        "digits-openvino-fp32: FAIL, parity of z",
        "y: too far",
        "Judge it again: dlconv verify out/digits-openvino-fp32",
    ]


def test_a_place_is_the_receipt_from_the_checkout(tmp_path: Path) -> None:
    bundle = tmp_path / "out" / "digits-openvino-fp32"
    bundle.mkdir(parents=True)
    (bundle / "dlconv.json").write_text("{}")
    report = REPORTS["one failed"][0]
    absolute = replace(report, outcomes=tuple(replace(o, path=tmp_path / str(o.path)) for o in report.outcomes))
    for each in (report, absolute):
        place = written(each, tmp_path)["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert place == "out/digits-openvino-fp32/dlconv.json"
    elsewhere = written(absolute, tmp_path / "checkout")["results"][0]["locations"][0]["physicalLocation"]
    assert elsewhere["artifactLocation"]["uri"] == (bundle / "dlconv.json").as_posix()


def test_fingerprints_stay_while_figures_change_and_tell_outputs_apart() -> None:
    parity, outcome, report = MADE["parity"], MADE["outcome"], type(REPORTS["all passed"][0])

    def prints(*checks: Check) -> list[str]:
        results = written(report((outcome(*checks),)))["results"]
        assert all(result["partialFingerprints"].keys() >= {"primaryLocationLineHash"} for result in results)
        return [result["partialFingerprints"]["dlconvCheck/v1"] for result in results]

    first = prints(parity("FAIL", "y", "1e-3"), parity("FAIL", "z", "1e-3"))
    assert len(set(first)) == 2
    assert first == prints(parity("FAIL", "y", "2e-3", error=2e-3), parity("FAIL", "z", "2e-3"))
    assert prints(Check("latency", Verdict("FAIL", ("slow",)), "y"))[0] not in first
