"""Reports to write down: what a release may end with, the ugly cases among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlconv.errors import DlconvError, MachineError, StepError
from dlconv.records.outcome import Outcome, Report, skipped
from dlconv.validators.verdict import Check, Verdict, Word, joined

ENVIRONMENT = {
    "cpu": "A CPU",
    "cpu_features": ["x86_64"],
    "cores": 2,
    "os": "Linux",
    "python": "3.11.7",
    "packages": {"dlconv": "0.2.0", "onnxruntime": "1.31.1"},
}


def parity(word: Word = "PASS", subject: str = "y", reason: str = "y: too far", **figures: Any) -> Check:
    told = {
        "name": subject,
        "error": 1e-7 if word == "PASS" else 3e-3,
        "bar": 4e-6,
        "floor": 1e-7,
        "cosine": 0.99999,
        "worst": {"sample": 2, "index": [0, 7], "reference": 1.25, "candidate": 1.5},
        **figures,
    }
    return Check("parity", Verdict(word, () if word == "PASS" else (reason,)), subject, told)


def outcome(
    *checks: Check,
    target: str = "onnx",
    model: str = "digits",
    error: DlconvError | None = None,
    verdict: Verdict | None = None,
    path: Path | None = Path("out/digits-onnx-fp32"),
    **further: Any,
) -> Outcome:
    if verdict is None and error is None:
        verdict = joined(checks)
    body = {"environment": ENVIRONMENT, "artifact": {"files": [{"size_bytes": 1500}]}}
    return Outcome(
        name=f"{model}-{target}-fp32",
        model=model,
        target=target,
        precision="fp32",
        path=path,
        verdict=verdict,
        checks=checks,
        error=error,
        again=f"dlconv verify out/{model}-{target}-fp32",
        seconds=1.5,
        body={} if error else body,
        **further,
    )


def lacking(target: str = "tflite") -> Outcome:
    """An outcome that was skipped, for want of a runtime."""
    error = MachineError("the toolchain tflite is not installed", mend="pip install 'dlconv[tflite]'")
    return outcome(target=target, error=error, verdict=skipped(error), path=None)


PASSED = outcome(Check("answers", Verdict("PASS"), figures={"samples": 8}), parity())
FAILED = outcome(parity(), parity("FAIL", "z"), target="openvino", path=Path("out/digits-openvino-fp32"))
DOUBTED = outcome(
    parity(),
    Check(
        "controls", Verdict("INCONCLUSIVE", ("these samples could not show a NaN in y",)), figures={"a NaN in y": False}
    ),
    target="onnxruntime",
    notes=("made for image:1x1x8x8 alone",),
)
BROKEN = outcome(
    target="tflite",
    error=StepError(
        "onnx2tf raised", wanted="a graph that it knows", mend="dlconv plan x", log="a.log", problems=("Op",)
    ),
    path=None,
)
# A name that attacks every form at once, and what no XML, Markdown table or workflow command may hold as it is.
HOSTILE = "a|b<c>&\"'`x`*_[z](u)\x00\x0b\x1b[31m\ud800\ufffe,:%\r\n::error::planted\n| no | table |"
UGLY = outcome(
    parity("FAIL", HOSTILE, f"{HOSTILE}: too far", error=float("nan"), bar=0.0),
    notes=(HOSTILE,),
    model=HOSTILE,
    target="onnx",
    path=Path("out") / "a b,c:d%20",
)

REPORTS = {
    "all passed": (Report((PASSED,)), 0),
    "one of each": (Report((PASSED, FAILED, DOUBTED, BROKEN)), 4),
    "one failed": (Report((PASSED, FAILED)), 1),
    "one doubted": (Report((PASSED, DOUBTED)), 3),
    "one may be lacking": (Report((PASSED, lacking()), frozenset({"tflite"})), 0),
    "one lacks": (Report((PASSED, lacking())), 3),
    "all skipped": (Report((lacking(), lacking("openvino"))), 3),
    "all skipped and allowed": (Report((lacking(),), frozenset({"tflite"})), 3),
    "nothing at all": (Report(()), 3),
    "no check behind a failure": (Report((outcome(verdict=Verdict("FAIL", ("a limit",))),)), 1),
    "a verdict worse than its checks": (Report((outcome(parity(), verdict=Verdict("INCONCLUSIVE", ("state",))),)), 3),
    "ugly": (Report((PASSED, UGLY)), 1),
}
"""Name: a report, and its exit code."""
