"""Judging again: saved evidence, other bars. Nothing is run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlconv.asked.bars import Bars
from dlconv.errors import RequestError
from dlconv.files.jsonfile import read_json
from dlconv.records.bundle import RECEIPT, is_bundle
from dlconv.records.outcome import Outcome, Report
from dlconv.validators.evidence import Evidence
from dlconv.validators.judging import checks
from dlconv.validators.latency import NAME as LATENCY
from dlconv.validators.latency import LatencyEvidence
from dlconv.validators.latency import judge as judge_latency
from dlconv.validators.verdict import Check, Verdict, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_REPLACED = ("answers", "parity", "determinism", "precision", "metric", "controls", "bars")
"""What the judge says anew of the evidence; other checks of a report (files, hardware) stand as they were."""


def judge_again(paths: Sequence[Path], bars: Bars | None) -> Report:
    """The verdicts on the evidence in receipts, bundles and reports of `verify --json`.

    bars: None for the receipts' own. Raises RequestError for what holds no evidence.
    """
    return Report(tuple(outcome for path in paths for outcome in _outcomes(path, bars)))


def _outcomes(path: Path, bars: Bars | None) -> Iterator[Outcome]:
    file = path / RECEIPT if is_bundle(path) else path
    try:
        data = read_json(file)
    except FileNotFoundError as error:
        raise RequestError(f"there is no {path}", wanted=f"a bundle, a {RECEIPT}, or a report of --json") from error
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read as JSON: {error}", wanted=f"a {RECEIPT}, or a report") from error
    again = shlex.join(("dlconv", "judge", str(path), *(bars.words() if bars is not None else ())))
    try:
        for name, receipt, kept in _receipts(file, data):
            yield _judged(name, path, receipt, kept, bars, again)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestError(
            f"{path} holds no evidence that can be judged: {type(error).__name__}: {error}",
            wanted=f"a {RECEIPT}, or a report of `dlconv verify --json`",
        ) from error


def _receipts(file: Path, data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], tuple[Check, ...]]]:
    """Each receipt in it, with the outcome's name, and the checks that no evidence stands behind."""
    if "outcomes" not in data:
        yield file.parent.name, data, ()
        return
    for told in data["outcomes"]:
        every = tuple(Check.from_dict(check) for check in told["checks"])
        yield told["name"], told["receipt"] or {}, tuple(check for check in every if check.name not in _REPLACED)


def _judged(
    name: str, path: Path, receipt: dict[str, Any], kept: tuple[Check, ...], bars: Bars | None, again: str
) -> Outcome:
    outcome = Outcome(name, "", str(receipt.get("target", "")), "fp32", path, again=again, body=receipt)
    if "evidence" not in receipt:
        # It was not run, or the run ended: what was said of that stands, and is no PASS.
        found = (*kept, Check("answers", Verdict("INCONCLUSIVE", ("there is no evidence: it was not run",))))
        return replace(outcome, verdict=joined(found), checks=found)
    own = Bars.from_dict(receipt.get("bars", {})) if bars is None else bars
    measured = [check for check in kept if check.name == LATENCY]
    besides = [check for check in kept if check.name != LATENCY]
    latency = _latency(receipt, own, measured)
    found = (*besides, *checks(Evidence.from_dict(receipt["evidence"]), own), *latency)
    if joined(found).word == "PASS" and not receipt["evidence"]["controls"]:
        # Only what would have passed was shown planted faults, and by the bars of then it would not have.
        unseen = "no planted fault was shown to the judge by these bars; dlconv verify with them does"
        found = (*found, Check("controls", Verdict("INCONCLUSIVE", (unseen,))))
    model = receipt["source"]["name"]
    precision = receipt.get("precision", "fp32")
    return replace(outcome, model=model, precision=precision, verdict=joined(found), checks=found)


def _latency(receipt: dict[str, Any], bars: Bars, said: Sequence[Check]) -> Sequence[Check]:
    """Latency by the bars asked for, else by the receipt's own. What was said of it stands where nothing can be said
    anew; a bar on what was not measured is no pass."""
    own = Bars.from_dict(receipt.get("bars", {})).latency
    asked = bars.latency if bars.latency.is_asked else own
    if "latency" in receipt and asked.is_asked:
        return judge_latency(LatencyEvidence.from_dict(receipt["latency"]), asked)
    if asked.is_asked and not said:
        reason = "there is a bar for latency, and it was not measured: dlconv verify measures it"
        return (Check(LATENCY, Verdict("INCONCLUSIVE", (reason,))),)
    return said
