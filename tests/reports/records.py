"""Records to make pages of: receipts of a right and a wrong artifact, whose evidence was measured, and a measurement.

They follow the schemas; only what no test could wait for (conversions, timed runs) is put in by hand.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from dlconv.asked.bars import Bars
from dlconv.tuning.contender import Contender, Setting, Timing
from dlconv.tuning.front import Wish
from dlconv.tuning.tuned import Tuned
from dlconv.validators.answers import Answers, noise_floors
from dlconv.validators.evidence import Evidence
from dlconv.validators.judging import bar_of, judge
from dlconv.validators.latency import LatencyEvidence, SideEvidence, WarmUp
from dlconv.validators.parity import measure
from dlconv.validators.percentiles import percentiles
from dlconv.validators.ratios import Ratio
from dlconv.validators.spread import PER_DECADE_OF_TIMES, spread_of

DIGEST = "sha256:" + "0" * 64


def evidence(wrong_by: float = 0.0, seed: int = 0) -> Evidence:
    """Of two outputs over 16 samples; `logits` is wrong by the share `wrong_by` of its scale in one element."""
    random = np.random.default_rng(seed)
    y64 = tuple({"logits": random.normal(size=(4, 10)), "scores": random.random(size=(4, 3))} for _ in range(16))
    y32 = tuple({name: array.astype(np.float32) for name, array in sample.items()} for sample in y64)
    found = tuple(
        {name: (a * (1 + random.normal(size=a.shape) * 3e-8)).astype(np.float32) for name, a in sample.items()}
        for sample in y64
    )
    found[3]["logits"][1, 7] += wrong_by * max(float(np.abs(sample["logits"]).max()) for sample in y64)
    measured = measure(Answers(y32, y64), found, 40.0, noise_floors(y64, [y32]), again=found)
    controls = {"a NaN in logits": True, "logits shifted": True, "a stale sample in scores": True}
    return Evidence(measured.outputs, measured.samples, measured.factor, controls=controls)


def step(edge: str, seconds: float, peak: int = 300_000_000) -> dict[str, Any]:
    return {
        "edge": edge,
        "toolchain": "onnx",
        "versions": {"onnx": "1.23.2"},
        "settings": {},
        "seconds": seconds,
        "peak_memory_bytes": peak,
        "cached": False,
        "notes": [],
    }


def receipt(
    target: str = "openvino", *, wrong_by: float = 0.0, version: str = "2026.4.1", seed: int = 0
) -> dict[str, Any]:
    """A receipt. The route through the simplifier failed where something is wrong, or had failed before."""
    measured = evidence(wrong_by, seed)
    verdict = judge(measured)
    edges = ["torchscript_to_onnx", "onnx_to_onnx[onnxsim]", f"onnx_to_{target.replace('-', '_')}"]
    plain = [edges[0], "onnx_to_onnx[plain]", edges[2]]
    blame = [
        {"edge": edge, "error": error, "floors": error / 1e-7, "share": share, "trouble": ""}
        for edge, error, share in zip(edges, (1e-7, 2e-3, 2e-3), (0.0, 1.0, 0.0), strict=True)
    ]
    failed = {
        "edges": edges,
        "outcome": "failed",
        "reason": "logits: error 2e-3, bar 4e-6",
        "steps": [step(edge, 1.0 + place) for place, edge in enumerate(edges)],
        "blame": blame,
    }
    taken = {"edges": plain, "outcome": "taken", "reason": "", "steps": [step(edge, 0.5) for edge in plain]}
    untried = {"edges": ["torchscript_to_openvino"], "outcome": "not-tried", "reason": "a route before", "steps": []}
    tensors = [
        {
            "name": "image",
            "dtype": "float32",
            "shape": ["N", 3, 8, 8],
            "source": "image",
            "permutation": [],
            "layout": "nchw",
        }
    ]
    outputs = [
        {
            "name": name,
            "dtype": "float32",
            "shape": [4, size],
            "source": name,
            "permutation": [],
            "layout": "as the source",
        }
        for name, size in (("logits", 10), ("scores", 3))
    ]
    return {
        "schema": 1,
        "dlconv": "0.1.0",
        "created": "2026-11-01T10:00:00+00:00",
        "source": {
            "name": "net.pt",
            "digest": DIGEST,
            "format": "torchscript",
            "signature": {
                "inputs": [{key: value for key, value in spec.items() if key != "layout"} for spec in tensors],
                "outputs": [{key: value for key, value in spec.items() if key != "layout"} for spec in outputs],
                "constants": [],
            },
            "facts": {},
            "notes": [],
            "input_flag": "",
        },
        "request": DIGEST,
        "command": f"dlconv export net.pt --to {target}",
        "target": target,
        "precision": "fp32",
        "routes": [failed, taken, untried],
        "artifact": {
            "entry": "model.xml",
            "files": [{"path": "model.xml", "digest": DIGEST, "size_bytes": 12_000}],
            "size_bytes": 12_000,
            "inputs": tensors,
            "outputs": outputs,
        },
        "reference": {
            "runtime": "torch",
            "precision": "float64",
            "reason": "",
            "versions": {"torch": "2.13.0"},
            "digest": DIGEST,
            "notes": [],
            "samples": {"count": 16, "origin": "user", "seed": None, "digest": DIGEST},
        },
        "evidence": {
            "runtime": target,
            "versions": {target: version},
            "placement": {"device": "CPU", "precision": "float32", "precisions": {"f32": 30, "f16": 10}},
            "seconds": 0.3,
            **measured.to_dict(),
            "outputs": [{**o.to_dict(), "bar": bar_of(o, measured.factor, Bars())} for o in measured.outputs],
            "limits": ["made for 8x8 images alone"] if target == "tflite" else [],
        },
        "bars": {},
        "verdict": verdict.to_dict(),
        "environment": {
            "cpu": "A CPU",
            "cpu_features": ["x86_64", "avx2"],
            "cores": 2,
            "os": "Linux",
            "python": "3.11.7",
            "packages": {"dlconv": "0.1.0", target: version},
        },
    }


def side(name: str, ms: float, seed: int = 0) -> SideEvidence:
    times = np.random.default_rng(seed).lognormal(np.log(ms), 0.08, size=8000)
    warm = WarmUp(400, 1.0, True, 3 * ms, ms, tuple(ms * factor for factor in (3.0, 1.5, 1.1, 1.0, 1.0)))
    return SideEvidence(
        name,
        "onnxruntime",
        {"onnxruntime": "1.31.1"},
        {"device": "CPU", "precision": "float32"},
        12_000,
        2,
        (0, 1),
        False,
        len(times),
        float(times.mean()),
        float(times.min()),
        percentiles([times * 1e6]),
        (10.0,),
        (),
        (1.0,),
        (warm, warm),
        90_000_000,
        spread_of([times], PER_DECADE_OF_TIMES),
    )


def latency() -> LatencyEvidence:
    sides = (side("last release", 2.0), side("this release", 2.4, 1))
    ratio = Ratio(1.2, 1.15, 1.26, 0.02, (1.18, 1.21, 1.22), 40)
    return LatencyEvidence(
        sides, {"this release": ratio}, 0.02, 0.3, 3, 40, 16, "image 1x3x8x8", 0, 20.0, "all was reached", True
    )


def tuned(name: str = "net.onnx") -> Tuned:
    """A search with a front, a contender that it beats, one of no use, one that was measured earlier, and one of each
    that was not measured."""
    made = []
    for target, precision, log, base, size, error in (
        ("onnxruntime", "fp32", 0.0, 0.0, 90_000, 2e-7),
        ("onnxruntime", "fp16", 0.7, 0.0, 95_000, 4e-4),
        ("onnxruntime", "int8", -0.6, 0.0, 27_000, 1e-2),
        ("openvino", "fp32", 0.0, 0.4, 98_000, 0.0),
    ):
        ratio = Ratio(math.exp(log), math.exp(log - 0.02), math.exp(log + 0.02), 0.02, (math.exp(log),) * 3, 40)
        timing = Timing(int(base > 0), log, 0.02, base, 0.02, 0.02, 2.0, None if precision == "fp32" else ratio)
        setting = Setting(target, precision, 2)
        said = (f"dlconv export {name} --to {target}", "2 threads", f"dlconv bench net-{target} --threads 2")
        made.append(Contender(setting, "PASS", (), size, error, 0.005, timing, *said))
    for index, word in enumerate(("FAIL", "INCONCLUSIVE", "SKIPPED", "ERROR", "NOT REACHED")):
        made.append(Contender(Setting("tflite", "int8", index + 1), word, (f"{name}: it is so",)))
    anchor = made[0].name
    wish, measured, at = Wish(max_drop=0.01, metric="top5"), (latency(), latency()), 1.8e9
    return Tuned(
        name, tuple(made), wish, measured, anchor, 2.0, 600.0, 123.4, earlier={1: at - 720}, at=at, is_kept=True
    )


def write(folder: Path, name: str, document: dict[str, Any]) -> Path:
    """A receipt as a file of its own, in a folder that is named for it."""
    place = folder / name
    place.mkdir(parents=True)
    (place / "dlconv.json").write_text(json.dumps(document))
    return place / "dlconv.json"


def bench(folder: Path) -> Path:
    """A document of `dlconv bench --json`."""
    path = folder / "bench.json"
    path.write_text(json.dumps({"exit_code": 0, "verdict": None, "checks": [], "evidence": latency().to_dict()}))
    return path
