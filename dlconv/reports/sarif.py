"""SARIF 2.1.0 (OASIS, 2020): what did not pass, for code scanning pages. A rule for each kind of check."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dlconv import __version__
from dlconv.reports.findings import findings
from dlconv.reports.locations import location
from dlconv.reports.table import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.records.outcome import Report
    from dlconv.reports.findings import Finding

RULES = {
    "answers": "Every sample was answered, with the outputs that the source has.",
    "bars": "Every bar that was asked for is of an output that the model has.",
    "controls": "A fault planted in the answers would have been found on these samples.",
    "determinism": "Two runs on the same sample answer the same, up to the model's own noise.",
    "error": "The artifact could be made and judged.",
    "files": "The files are those that the receipt names, by their digests.",
    "latency": "The artifact is as fast as was asked for.",
    "parity": "The artifact answers as the source model does, up to the model's own noise.",
    "report": "Something was judged.",
    "verdict": "The artifact as a whole is the same model.",
}
"""What holds where a check passes; a check that is not here is told by its name."""

_LEVELS = {"ERROR": "error", "FAIL": "error", "INCONCLUSIVE": "warning", "SKIPPED": "warning"}


def document(report: Report, root: Path) -> str:
    """The report as SARIF. root: the folder that paths are told from, which is the repository's."""
    found = findings(report)
    rules = sorted({finding.rule for finding in found})
    run = {
        "tool": {
            "driver": {"name": "dlconv", "semanticVersion": __version__, "rules": [_rule(name) for name in rules]}
        },
        "invocations": [{"executionSuccessful": report.exit_code == 0, "exitCode": report.exit_code}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules.index(finding.rule), root) for finding in found],
    }
    whole = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def _rule(name: str) -> dict[str, Any]:
    text = {"text": RULES.get(name, f"The check {name!r} holds.")}
    return {"id": name, "name": name, "shortDescription": text, "fullDescription": text}


def _result(finding: Finding, index: int, root: Path) -> dict[str, Any]:
    outcome = finding.outcome
    name = "dlconv" if outcome is None else outcome.name
    where = "dlconv.toml" if outcome is None else location(outcome, root)
    again = [] if outcome is None or not outcome.again else [f"Judge it again: {outcome.again}"]
    message = "\n".join(map(one_line, [f"{name}: {finding.word}, {finding.title}", *finding.reasons, *again]))
    place = {"artifactLocation": {"uri": quote(where.encode("utf-8", "backslashreplace"))}, "region": {"startLine": 1}}
    logical = {"name": one_line(name), "fullyQualifiedName": one_line(f"{name}/{finding.title}"), "kind": "resource"}
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[finding.word],
        "message": {"text": message},
        "locations": [{"physicalLocation": place, "logicalLocations": [logical]}],
        "partialFingerprints": _fingerprints(finding),
    }


def _fingerprints(finding: Finding) -> dict[str, str]:
    """The same from run to run: made of what was asked of which artifact, not of what was measured.

    All stand on line 1 of one file; without the second, which GitHub goes by, it would take them for one.
    """
    outcome = finding.outcome
    of = ("dlconv",) if outcome is None else (outcome.model, outcome.target, outcome.precision)
    digest = hashlib.sha256("\0".join((*of, finding.title)).encode("utf-8", "backslashreplace")).hexdigest()
    return {"dlconvCheck/v1": digest, "primaryLocationLineHash": f"{digest[:16]}:1"}
