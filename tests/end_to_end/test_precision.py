"""`dlconv export --fp16 | --int8 | ...` as a user types it: attested, judged by its own noise, or refused by name."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.latency.sides import judge_answers, side_of_bundle
from dlconv.records.bundle import open_bundle
from tests.end_to_end.test_export import receipt_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.onnx]
_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
TARGETS = "onnx,onnxruntime,openvino,tflite"


def test_every_target_in_every_precision(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    held = np.load(digits / "samples.npz")["image"]
    np.savez(tmp_path / "calibration.npz", image=held[:32])
    np.savez(tmp_path / "samples.npz", image=held[32:])
    sizes: dict[str, dict[str, int]] = {}
    for precision in ("fp32", "fp16", "int8", "fp16-weights", "int8-weights"):
        further = ["--calibration", tmp_path / "calibration.npz"] if precision == "int8" else []
        ran = dlconv("export", digits / "digits.onnx", "--to", TARGETS, "--precision", precision, *further,
                     "--samples", tmp_path / "samples.npz", "-o", tmp_path, "--json", "-")  # fmt: skip
        assert ran.code == 0, ran.err
        for target in TARGETS.split(","):
            receipt = receipt_of(tmp_path / f"digits-{target}-{precision}")
            sizes.setdefault(precision, {})[target] = receipt["artifact"]["size_bytes"]
            assert receipt["precision"] == precision and receipt["verdict"]["word"] == "PASS"
            if precision == "fp32":
                assert "reduction" not in receipt
                continue
            account = receipt["evidence"]["account"]
            assert account["operators"] and account["weights"]
            noise = {output["name"]: output["error"] for output in receipt["reduction"]["noise"]["outputs"]}
            (output,) = receipt["evidence"]["outputs"]
            assert output["bar"] == pytest.approx(3 * noise[output["name"]])
            assert [spec["dtype"] for spec in receipt["artifact"]["inputs"]] == ["float32"]
            if precision == "int8":
                assert receipt["reduction"]["calibration"]["count"] == 32
                assert sum(account["operators"].values()) == account["operators"].get("int8"), account
    weights = ("fp16", "fp16-weights", "int8-weights")
    assert all(sizes[each][target] < 0.65 * sizes["fp32"][target] for each in weights for target in sizes[each])
    verified = dlconv("verify", *sorted(tmp_path.glob("digits-*-*")), "--json", "-")
    assert verified.code == 0, verified.err
    assert len(verified.data["outcomes"]) == 20
    side = side_of_bundle(open_bundle(tmp_path / "digits-onnx-int8"), "int8")
    assert side.bundle is not None
    (known,) = side.bundle.noise.items()
    for times, word in ((2.5, "PASS"), (3.5, "FAIL")):  # what timed runs answer is judged by the same bar
        moved = {
            number: {name: array + np.float32(times * known[1]) for name, array in answer.items()}
            for number, answer in enumerate(side.bundle.reference().answers.y32[:2])
        }
        assert {check.verdict.word for check in judge_answers(side, moved) if check.name == "parity"} == {word}


def test_a_changed_precision_of_the_receipt_is_noticed(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", digits / "digits.onnx", "--to", "onnx", "-o", tmp_path)
    assert ran.code == 0, ran.err
    path = tmp_path / "digits-onnx-fp32" / "dlconv.json"
    receipt = json.loads(path.read_text())
    path.write_text(json.dumps({**receipt, "precision": "int8"}))
    verified = dlconv("verify", path.parent)
    assert verified.code == 1 and "int8 was asked for, and 0% of the operators that ran" in verified.out + verified.err


def overflowing(folder: Path) -> Path:
    """y = (x @ a) @ b: what is between the two exceeds float16, and the answers are small."""
    random = np.random.default_rng(0)
    a, b = (random.standard_normal(shape).astype(np.float32) for shape in ((8, 16), (16, 4)))
    nodes = [_node("MatMul", ["x", "a"], ["h"], name="large"), _node("MatMul", ["h", "b"], ["y"], name="small")]
    stored = [_stored("a", a * 60000), _stored("b", b / 60000)]
    return _save(folder, nodes, [_value("x", ["N", 8])], [_value("y", ["N", 4])], stored)


def test_an_overflow_is_named_before_anything_is_built(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    path = overflowing(tmp_path)
    ran = dlconv("export", path, "--to", "onnx,openvino", "--fp16", "-o", tmp_path / "out")
    assert ran.code == 4 and "float16 overflows at large (MatMul)" in ran.err, ran.err
    assert "--keep-list" in ran.err and not list(tmp_path.glob("out/*"))
    (tmp_path / "keep.txt").write_text("large  # beyond 65504\nsmall\n")
    ran = dlconv(
        "export", path, "--to", "onnx,openvino", "--fp16", "--keep-list", tmp_path / "keep.txt", "-o", tmp_path
    )
    assert ran.code == 1 and "fp16 was asked for, and 0%" in ran.out + ran.err  # both nodes are all that there is
    (tmp_path / "keep.txt").write_text("no such node\n")
    ran = dlconv("export", path, "--to", "onnx", "--fp16", "--keep-list", tmp_path / "keep.txt", "-o", tmp_path)
    assert ran.code == 2 and "no such node" in ran.err


def test_what_overflows_is_found_and_kept(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = [np.linalg.qr(random.standard_normal((16, 16)))[0] for _ in range(9)]
    weights[4], weights[5] = weights[4] * 2.0**18, weights[5] / 2.0**18
    tensors = ["x", *(f"h{number}" for number in range(8)), "y"]
    nodes = [_node("MatMul", [tensors[n], f"w{n}"], [tensors[n + 1]], name=f"m{n}") for n in range(9)]
    stored = [_stored(f"w{number}", weight.astype(np.float32)) for number, weight in enumerate(weights)]
    path = _save(tmp_path, nodes, [_value("x", ["N", 16])], [_value("y", ["N", 16])], stored)
    ran = dlconv("export", path, "--to", "onnx,openvino", "--fp16", "--search", "-o", tmp_path)
    assert ran.code == 0 and "2 of 9 nodes stay in float32" in ran.out + ran.err, ran.err
    lines = (tmp_path / "model-fp16.keep").read_text().splitlines()
    assert lines[1:] == ["m4", "m5"]
    receipt = receipt_of(tmp_path / "model-onnx-fp16")
    assert receipt["reduction"]["keep"] == ["m4", "m5"]
    assert receipt["evidence"]["account"]["operators"] == {"float16": 7, "float32": 2}
    again = dlconv(
        "export", path, "--to", "onnx", "--fp16", "--keep-list", tmp_path / "model-fp16.keep", "-o", tmp_path
    )
    assert again.code == 0, again.err
    other = dlconv("export", path, "--to", "openvino", "--fp16", "--weights-only", "--search", "-o", tmp_path / "none")
    assert other.code == 2 and "leave openvino out" in other.err and not (tmp_path / "none").exists()


@pytest.mark.onnx2tf
@pytest.mark.tflite
def test_a_bar_that_a_target_misses_is_searched_for_again(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    """An ideal int8 needs nothing kept for the noise that a search leaves; the ratio asked for besides needs it."""
    words = ("--int8", "--samples", digits / "samples.npz", "--min-sqnr-db", "58", "--search")
    ran = dlconv("export", digits / "digits.onnx", "--to", "openvino", *words, "-o", tmp_path)
    assert ran.code == 0, ran.out + ran.err
    assert "0 of 6 nodes stay" in ran.err and "openvino: a bar is missed, more nodes are looked for" in ran.err
    receipt = receipt_of(tmp_path / "digits-openvino-int8")
    kept = receipt["reduction"]["keep"]
    assert kept and (tmp_path / "digits-int8.keep").read_text().splitlines()[1:] == kept
    assert receipt["evidence"]["outputs"][0]["sqnr_db"] >= 58


def attention(folder: Path) -> Path:
    """Scores of 8 rows, of which `seen` masks some with the lowest of float32, as trained models are traced."""
    random = np.random.default_rng(0)
    stored = [_stored(name, random.standard_normal((16, 16)).astype(np.float32) / 8) for name in ("q", "k", "v")]
    stored += [_stored("low", np.float32(np.finfo(np.float32).min)), _stored("one", np.float32(1))]
    nodes = [
        *(_node("MatMul", ["x", name], [f"x{name}"], name=name.upper()) for name in ("q", "k", "v")),
        _node("Transpose", ["xk"], ["kt"], perm=[0, 2, 1]),
        _node("MatMul", ["xq", "kt"], ["scores"], name="scores"),
        _node("Cast", ["seen"], ["shown"], to=1),
        _node("Sub", ["one", "shown"], ["hidden"]),
        _node("Mul", ["hidden", "low"], ["mask"]),
        _node("Add", ["scores", "mask"], ["masked"], name="masked"),
        _node("Softmax", ["masked"], ["shares"], axis=-1),
        _node("MatMul", ["shares", "xv"], ["y"], name="mixed"),
    ]
    inputs = [_value("x", [1, 8, 16]), _value("seen", [1, 1, 8], 7)]
    path: Path = _save(folder, nodes, inputs, [_value("y", [1, 8, 16])], stored)
    seen = np.arange(8) < random.integers(2, 9, (48, 1, 1))
    x = random.standard_normal((48, 8, 16)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x, seen=seen.astype(np.int64))
    return path


def test_a_mask_leaves_attention_its_scores_on_every_target(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    path = attention(tmp_path)
    ran = dlconv("export", path, "--to", TARGETS, "--int8", "--samples", tmp_path / "samples.npz", "-o", tmp_path)
    assert ran.code == 0, ran.err
    for target in TARGETS.split(","):
        receipt = receipt_of(tmp_path / f"model-{target}-int8")
        assert receipt["reduction"]["keep"] == []
        taken = next(route for route in receipt["routes"] if route["outcome"] == "taken")
        assert receipt["routes"].index(taken) == 0, "the first way holds: no other is needed"


def test_random_calibration_draws_what_the_model_takes(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    """Rows of a table, the later the larger: with ids of 0 and 1 alone int8 would cut all others off."""
    table = np.arange(64)[:, None] * np.ones((1, 8))
    nodes = [_node("Gather", ["table", "ids"], ["rows"]), _node("MatMul", ["rows", "w"], ["y"])]
    stored = [_stored("table", table.astype(np.float32)), _stored("w", np.eye(8, dtype=np.float32))]
    path = _save(tmp_path, nodes, [_value("ids", [1, 4], 7)], [_value("y", [1, 4, 8])], stored)
    ran = dlconv(
        "export", path, "--to", "onnx", "--int8", "--allow-random-calibration", "--draws", "40", "-o", tmp_path
    )
    assert ran.code == 0, ran.err
    assert np.max(receipt_of(tmp_path / "model-onnx-int8")["evidence"]["outputs"][0]["error"]) < 0.02


def test_sixteen_bits_beside_eight(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    words = ("export", digits / "digits.onnx", "--samples", digits / "samples.npz", "-o", tmp_path, "--to", "tflite")
    errors = {}
    for precision in ("int8", "int16x8"):
        ran = dlconv(*words, "--precision", precision)
        assert ran.code == 0, ran.err
        receipt = receipt_of(tmp_path / f"digits-tflite-{precision}")
        errors[precision] = receipt["evidence"]["outputs"][0]["error"]
    assert receipt["precision"] == "int16x8" and receipt["reduction"]["calibration"]["count"] >= 64
    assert set(receipt["evidence"]["account"]["operators"]) == {"int16"}
    assert receipt["evidence"]["account"]["weights"]["int8"] > 20000
    assert errors["int16x8"] < 0.7 * errors["int8"]
    assert dlconv("verify", tmp_path / "digits-tflite-int16x8").code == 0
    assert dlconv(*words[:-1], "onnx", "--precision", "int16x8").code == 2


@pytest.mark.onnx2tf
@pytest.mark.tflite
def test_ranges_by_the_average_cut_off_what_is_rare(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    held = np.load(digits / "samples.npz")["image"]
    held[-1] *= 20  # one sample of 64 is far larger
    np.savez(tmp_path / "calibration.npz", image=held)
    errors = {}
    for variant in ("int8", "int8-average"):
        route = f"onnx_to_onnx[onnxsim],onnx_to_tflite,tflite_to_reduced[{variant}]"
        ran = dlconv("export", digits / "digits.onnx", "--to", "tflite", "--int8", "--samples", digits / "samples.npz",
                     "--calibration", tmp_path / "calibration.npz", "--route", route, "-o", tmp_path,
                     "--max-error", "0.9", "--json", "-")  # fmt: skip
        receipt = ran.data["outcomes"][0]["receipt"]
        errors[variant] = receipt["evidence"]["outputs"][0]["error"]
        assert receipt["routes"][0]["steps"][-1]["edge"] == f"tflite_to_reduced[{variant}]"
    assert "average of 64 samples" in receipt["routes"][0]["steps"][-1]["notes"][0]
    assert errors["int8-average"] < 0.8 * errors["int8"], errors


@pytest.mark.onnx2tf
@pytest.mark.openvino
@pytest.mark.tflite
def test_a_keep_list_holds_on_every_target(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("/features/features.3/Conv\n/classifier/classifier.4/Gemm\n")
    words = (
        "export",
        digits / "digits.onnx",
        "--to",
        TARGETS,
        "--int8",
        "--samples",
        digits / "samples.npz",
        "-o",
        tmp_path,
    )
    ran = dlconv(*words, "--keep-list", tmp_path / "keep.txt")
    assert ran.code == 0, ran.err
    for target in TARGETS.split(","):
        account = receipt_of(tmp_path / f"digits-{target}-int8")["evidence"]["account"]
        assert account["operators"] == {"int8": 2, "float32": 2}, target
    (tmp_path / "keep.txt").write_text("/classifier/classifier.3/Relu\n")  # which TFLite joins with what is before it
    ran = dlconv(*words[:3], "tflite", *words[4:], "--keep-list", tmp_path / "keep.txt", "--json", "-")
    tried = ran.data["outcomes"][0]
    reasons = [route["reason"] for route in tried["receipt"]["routes"]] if tried["receipt"] else [tried["error"]["met"]]
    assert ran.code == 0 or "has no operator of 1 nodes" in " ".join(reasons)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fp16", "--int8"], "several precisions"),
        (["--weights-only"], "--weights-only goes with"),
        (["--fp16", "--calibration", "x.npz"], "calibration is for int8"),
        (["--int8"], "needs calibration samples"),
        (["--int8", "--calibration", "nowhere.npz"], "no calibration file"),
        (["--int8", "--calibration", "json:nothing"], "nothing"),
        (["--keep-list", __file__], "keep-list"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    ran = dlconv("export", digits / "digits.onnx", "--to", "onnx", *words, "-o", tmp_path)
    assert ran.code == 2 and told in ran.err and not list(tmp_path.iterdir()), ran.err


def test_a_target_without_the_precision_is_refused(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    ran = dlconv("export", digits / "digits.onnx", "--to", "onnx,saved-model", "--int8", "-o", tmp_path)
    assert ran.code == 2 and "no edge puts int8 into saved-model" in ran.err


def test_random_calibration_is_told(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    ran = dlconv("export", digits / "digits.onnx", "--to", "openvino", "--int8", "--allow-random-calibration",
                 "-o", tmp_path)  # fmt: skip
    assert "calibrated on random numbers" in ran.out + ran.err
    assert receipt_of(tmp_path / "digits-openvino-int8")["reduction"]["calibration"]["origin"] == "drawn"
