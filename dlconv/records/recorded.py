"""What was recorded: bundles, receipts and `--json` documents, read back as what they tell of. Nothing is run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.asked.bars import Bars
from dlconv.errors import DlconvError, RequestError
from dlconv.files.jsonfile import read_json
from dlconv.records.bundle import RECEIPT, bundles_in, is_bundle, open_bundle
from dlconv.records.outcome import Outcome, Report
from dlconv.validators.evidence import Evidence
from dlconv.validators.judging import checks
from dlconv.validators.latency import LatencyEvidence
from dlconv.validators.verdict import Check, Verdict, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

_GRAVEST = ("FAIL", "INCONCLUSIVE", "SKIPPED", "PASS")
_WANTED = f"a bundle, a {RECEIPT}, or a document of --json (export, verify, judge, bench)"


@dataclass(frozen=True)
class Timing:
    """A measurement of `dlconv bench`: what was measured, and the checks of it. name: of the file that tells of it."""

    name: str
    evidence: LatencyEvidence
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """The outcomes, as they were told, and the measurements besides."""

    report: Report
    timings: tuple[Timing, ...] = ()

    @property
    def exit_code(self) -> int:
        """The report's; without outcomes the measurements': 1 where one failed, 3 where one is unknown, else 0."""
        if self.report.outcomes or not self.timings:
            return self.report.exit_code
        words = {joined(timing.checks).word for timing in self.timings if timing.checks}
        if "FAIL" in words or any(timing.evidence.problems for timing in self.timings):
            return 1
        return 3 if words - {"PASS"} else 0


def read(paths: Sequence[Path]) -> Recorded:
    """All that the paths tell of, in their order. Raises RequestError for what is no record."""
    outcomes: list[Outcome] = []
    timings: list[Timing] = []
    allowed: set[str] = set()
    for path in paths:
        document = _document(path)
        try:
            if "outcomes" in document:
                outcomes += map(outcome_of, document["outcomes"])
                allowed |= set(document["allowed"])
            elif "sides" in document.get("evidence", {}):
                found = tuple(map(Check.from_dict, document.get("checks", ())))
                timings.append(Timing(path.stem, LatencyEvidence.from_dict(document["evidence"]), found))
            else:
                outcomes.append(of_receipt(path, document))
        except DlconvError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            met = f"{path} is no record of dlconv's: {type(error).__name__}: {error}"
            raise RequestError(met, wanted=_WANTED) from error
    return Recorded(Report(tuple(_unique(outcomes)), frozenset(allowed)), tuple(timings))


def in_folders(paths: Sequence[Path]) -> list[Path]:
    """The paths, and in place of a folder of bundles the bundles in it. RequestError where there is none."""
    found: list[Path] = []
    for path in paths:
        inside = bundles_in(path)
        if path.is_dir() and not is_bundle(path) and not inside:
            raise RequestError(f"{path} is no bundle, and there is none in it", wanted=_WANTED)
        found += inside or [path]
    return found


def outcome_of(data: dict[str, Any]) -> Outcome:
    """What `Outcome.to_dict` wrote. KeyError, TypeError or ValueError for what is none."""
    verdict, error = data["verdict"], data["error"]
    outcome = Outcome(
        name=data["name"],
        model=data["model"],
        target=data["target"],
        precision=data["precision"],
        path=None if data["path"] is None else Path(data["path"]),
        verdict=None if verdict is None else Verdict.from_dict(verdict),
        checks=tuple(map(Check.from_dict, data["checks"])),
        error=None if error is None else DlconvError.from_dict(error),
        notes=tuple(data["notes"]),
        again=data["again"],
        seconds=float(data["seconds"]),
        body=data["receipt"] or {},
    )
    if outcome.word != data["word"]:
        raise ValueError(f"{outcome.name} is said to be {data['word']}, and its verdict is {outcome.word}")
    return outcome


def of_receipt(path: Path, receipt: dict[str, Any]) -> Outcome:
    """The outcome that a receipt tells of. path: of the bundle, whose files are checked, or of the receipt alone.

    The verdict is the recorded one, unless its evidence or the files say worse: a record is not believed where what
    lies beside it speaks against it.
    """
    place = path if path.is_dir() else path.parent
    bundle = open_bundle(path) if path.is_dir() else None
    evidence = Evidence.from_dict(receipt["evidence"])
    found = list(checks(evidence, Bars.from_dict(receipt["bars"])))
    recorded = Verdict.from_dict(receipt["verdict"])
    if _GRAVEST.index(joined(found).word) < _GRAVEST.index(recorded.word):
        met = f"the receipt says {recorded.word}, and its evidence is {joined(found).word} by this release's judge"
        found.append(Check("verdict", Verdict("INCONCLUSIVE", (met,))))
        recorded = joined(found)
    if bundle is not None:
        changes = bundle.changes()
        files = {"files": len(receipt["artifact"]["files"]), "size_bytes": receipt["artifact"]["size_bytes"]}
        found.insert(0, Check("files", Verdict("FAIL" if changes else "PASS", changes), figures=files))
        if changes:
            recorded = Verdict("FAIL", (*changes, *recorded.reasons))
    return Outcome(
        name=place.name or receipt["source"]["name"],
        model=receipt["source"]["name"],
        target=receipt["target"],
        precision=receipt["precision"],
        path=path,
        verdict=recorded,
        checks=tuple(found),
        notes=tuple(receipt["evidence"]["limits"]),
        again=shlex.join(("dlconv", "verify", str(place))),
        seconds=sum(float(step["seconds"]) for route in receipt["routes"] for step in route["steps"]),
        body=receipt,
    )


def _document(path: Path) -> dict[str, Any]:
    if path.is_dir() and not is_bundle(path):
        raise RequestError(f"{path} is no bundle: there is no {RECEIPT} in it", wanted=_WANTED)
    file = path / RECEIPT if path.is_dir() else path
    try:
        document = read_json(file)
    except FileNotFoundError as error:
        raise RequestError(f"there is no {path}", wanted=_WANTED) from error
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read as JSON: {error}", wanted=_WANTED) from error
    if not isinstance(document, dict):
        raise RequestError(f"{path} is no record of dlconv's", wanted=_WANTED)
    return document


def _unique(outcomes: list[Outcome]) -> list[Outcome]:
    """Names are unique in a report: the second of a name gets a number."""
    seen: dict[str, int] = {}
    told = []
    for outcome in outcomes:
        seen[outcome.name] = seen.get(outcome.name, 0) + 1
        again = seen[outcome.name]
        told.append(outcome if again == 1 else replace(outcome, name=f"{outcome.name} ({again})"))
    return told
