"""Attestation: whether an artifact is in the precision that was asked for, by the account of its runtime. Pure.

An account counts, by precision: "operators", those of the artifact that take most of the time (sums of products; all
that give floats, where there are none of these); "weights", elements of its stored numbers; and "ran", the operators as
the runtime on this machine really ran them, where it tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dlconv.asked.precisions import computed_in, dtype_of, is_stored_alone
from dlconv.validators.verdict import Check, Verdict

LEAST_SHARE: Final = 0.1
"""What has to be in the precision. A keep-list or an operator without kernels leaves some in float32; with less than
this, all that is heavy was left there."""

_NAME: Final = "precision"

_STORES_FLOAT16: Final = frozenset({"tflite", "onnxruntime"})
"""Runtimes whose files may hold float16 as stored numbers alone: TFLite has no other, and delegates compute in it; ONNX
Runtime puts float32 operators into the model that it optimises for a CPU without float16 arithmetic."""


def attested(precision: str, account: Mapping[str, Any] | None, runtime: str = "") -> Check:
    """A check that fails where (nearly) all was left in float32.

    Of a "-weights" precision the stored numbers are asked; of fp16 the operators, or the stored numbers where the
    runtime's files may have float16 in them alone; of int8 and bf16 the operators, and those that ran where the runtime
    tells. runtime: what runs the artifact, by name.
    """
    if not account:
        return Check(_NAME, Verdict("INCONCLUSIVE", ("the runtime gives no account of what is in which precision",)))
    dtype = dtype_of(precision) if is_stored_alone(precision) else computed_in(precision)
    wanted = {"operators": computed_in(precision), "weights": dtype_of(precision), "ran": computed_in(precision)}
    shares = {kind: share_of(account.get(kind, {}), each) for kind, each in wanted.items()}
    figures = {**{f"{kind}_share": share for kind, share in shares.items()}, "account": dict(account)}
    asked = _asked(precision, shares, runtime)
    if asked is None:
        return Check(_NAME, Verdict("INCONCLUSIVE", (f"nothing is known of what is in {dtype}",)), figures=figures)
    what, share = asked
    if share >= LEAST_SHARE:
        return Check(_NAME, Verdict("PASS"), figures=figures)
    met = f"{precision} was asked for, and {100 * share:.0f}% of {what} is in {dtype}: the rest is in float32"
    return Check(_NAME, Verdict("FAIL", (met,)), figures=figures)


def share_of(counts: Mapping[str, Any], dtype: str) -> float | None:
    """The share of what is counted that is in the dtype; None where nothing is counted."""
    total = sum(counts.values())
    return counts.get(dtype, 0) / total if total else None


def _asked(precision: str, shares: Mapping[str, float | None], runtime: str) -> tuple[str, float] | None:
    operators, weights, ran = shares["operators"], shares["weights"], shares["ran"]
    if is_stored_alone(precision):
        return None if weights is None else ("what is stored", weights)
    if precision == "fp16":
        stored = weights if runtime in _STORES_FLOAT16 else None
        known = [share for share in (operators, stored) if share is not None]
        what = "the operators" if stored is None else "the operators and of what is stored"
        return (what, max(known)) if known else None
    if ran is not None:
        return "the operators that ran", ran
    return None if operators is None else ("the operators", operators)
