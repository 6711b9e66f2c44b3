"""`--metric` with `--labels` and `--max-drop`, as a user types them."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.end_to_end.test_export import receipt_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.conftest import Command

pytestmark = [pytest.mark.onnx]


def test_the_drop_of_a_task_metric_is_judged(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    words = ("--labels", digits / "labels.npz", "--metric", "top1", "--max-drop")
    export = ("export", digits / "digits.onnx", "--samples", digits / "samples.npz", "--to", "onnx,openvino,tflite",
              "--int8", "-o", tmp_path, "--json", "-", *words)  # fmt: skip
    ran = dlconv(*export, "2%", "--html", tmp_path / "report.html")
    assert ran.code == 0, ran.err
    for target in ("onnx", "openvino", "tflite"):
        task = receipt_of(tmp_path / f"digits-{target}-int8")["evidence"]["task"]
        assert task["metric"] == "top1" and task["labels"] == 64 and task["reference"] > 0.9
        assert task["interval"][0] <= task["reference"] - task["candidate"] <= task["interval"][1]
    page = (tmp_path / "report.html").read_text()
    assert "metric of top1" in page and "Newcombe" in page
    shown = dlconv("verify", tmp_path / "digits-onnx-int8", *words, "2%")
    assert shown.code == 0 and "0.9844 for 0.9844" in shown.out, shown.out
    few = dlconv("verify", tmp_path / "digits-onnx-int8", *words, "0.5%")
    assert few.code == 3 and "give 200 labels or more" in few.out
    again = re.search(r"again: dlconv (.+)", few.out)
    assert again and dlconv(*shlex.split(again[1])).code == 3
    early = dlconv("export", digits / "digits.onnx", "--samples", digits / "samples.npz", "--to", "openvino",
                   "-o", tmp_path / "early", *words, "0.5%")  # fmt: skip
    assert early.code == 3, early.err
    assert early.err.index("top1 will not be conclusive: one answer of 64") < early.err.index("onnx_to_openvino")


def test_a_bundle_keeps_what_its_metric_needs(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    labels = Path(shutil.copy(digits / "labels.npz", tmp_path / "truth.npz"))
    words = ("--labels", labels, "--metric", "top1", "--max-drop", "2%")
    export = ("export", digits / "digits.onnx", "--samples", digits / "samples.npz", "--to", "onnx")
    ran = dlconv(*export, *words, "-o", tmp_path / "made")
    assert ran.code == 0, ran.err
    labels.unlink()
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / "made" / "digits-onnx-fp32", elsewhere / "digits-onnx-fp32")
    (elsewhere / "notes").mkdir()
    shown = dlconv("verify", elsewhere)  # a folder of bundles
    assert shown.code == 0 and "0.9844 for 0.9844" in shown.out, shown.out
    assert "notes is no bundle: it is left out" in shown.err
    bundle = elsewhere / "digits-onnx-fp32"
    assert set(receipt_of(bundle)["task"]) == {"metric", "labels", "files"}
    without = dlconv("verify", bundle, "--max-error", "1e-3")  # other bars, that ask nothing of the metric
    assert without.code == 0 and "0.9844" not in without.out
    wrong = {name: (array + 1) % 10 for name, array in np.load(bundle / "labels.npz").items()}
    np.savez(bundle / "labels.npz", **wrong)
    spoiled = dlconv("verify", bundle)
    assert spoiled.code == 2 and "labels.npz" in spoiled.out and "not that of its receipt" in spoiled.out
    (bundle / "labels.npz").unlink()
    given = dlconv("verify", bundle, "--labels", digits / "labels.npz")
    assert given.code == 0 and "metric" in given.out, given.out + given.err


def test_no_code_runs_because_a_receipt_names_it(dlconv: Command, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("print('mine runs')\ndef rate(outputs, labels):\n    return 1.0\n")
    words = ("--samples", digits / "samples.npz", "--labels", digits / "labels.npz", "--max-drop", "2%")
    made = dlconv.start(
        "export", digits / "digits.onnx", "--to", "onnx", "--metric", "mine:rate", *words, "-o", tmp_path, cwd=tmp_path
    )
    assert made.communicate(timeout=280) and made.returncode == 0

    def verify(*further: object) -> tuple[int, str]:
        process = dlconv.start("verify", tmp_path / "digits-onnx-fp32", *further, cwd=tmp_path)
        out, err = process.communicate(timeout=280)
        return process.returncode, out + err

    code, said = verify()
    assert code == 2 and "mine runs" not in said and "--metric mine:rate" in said, said
    code, said = verify("--metric", "mine:rate")
    assert code == 0 and "mine runs" in said, said


def test_labels_and_metrics_that_do_not_fit_are_errors(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "few.npz", y=np.zeros(10, int))
    export = ("export", digits / "digits.onnx", "--samples", digits / "samples.npz", "--to", "onnx", "-o", tmp_path)
    ran = dlconv(*export, "--labels", tmp_path / "few.npz", "--metric", "top1", "--max-drop", "1%")
    assert ran.code == 2 and "10 labels for 67 answers" in ran.err
    ran = dlconv(*export, "--metric", "top1", "--max-drop", "1%")
    assert ran.code == 2 and "needs labels" in ran.err
    ran = dlconv(*export, "--labels", digits / "labels.npz", "--metric", "top1")
    assert ran.code == 2 and "--max-drop" in ran.err
    ran = dlconv(*export, "--labels", digits / "labels.npz", "--metric", "best", "--max-drop", "1%")
    assert ran.code == 2 and "no metric 'best'" in ran.err
    assert not list(tmp_path.glob("digits-*"))


def test_a_drop_fails_and_a_search_by_the_metric_mends_it(dlconv: Command, digits: Path, tmp_path: Path) -> None:
    """A function counts an answer as right only where it is as sure as the source: int8 loses that, by some layers."""
    name = _output_of(digits)
    (tmp_path / "strict.py").write_text(
        "import numpy as np\n"
        "def exact(outputs, labels):\n"
        f"    return np.mean(np.abs(outputs[{name!r}] - labels).max(1) < 4e-3)\n"
    )
    np.savez(tmp_path / "near.npz", scores=_answers(digits, name))
    words = ("export", digits / "digits.onnx", "--samples", digits / "samples.npz", "--to", "onnx", "--int8",
             "--labels", tmp_path / "near.npz", "--metric", "strict:exact", "--max-drop", "3%")  # fmt: skip

    def run(*further: object) -> tuple[int, str]:
        process = dlconv.start(*words, *further, cwd=tmp_path)  # where its module lies
        out, err = process.communicate(timeout=280)
        return process.returncode, out + err

    run("-o", tmp_path / "all")  # the verdict is the CPU's: some sum int8 with saturation
    ideal = receipt_of(tmp_path / "all" / "digits-onnx-int8")["reduction"]["noise"]["task"]
    assert ideal["candidate"] < 0.97
    code, said = run("-o", tmp_path / "kept", "--search")
    assert code == 0, said
    kept = receipt_of(tmp_path / "kept" / "digits-onnx-int8")
    nodes = len(kept["reduction"]["keep"])
    assert nodes and kept["reduction"]["noise"]["task"]["candidate"] >= 0.97
    assert kept["evidence"]["task"]["method"].startswith("paired bootstrap")
    assert (tmp_path / "kept" / "digits-int8.keep").read_text().splitlines()[1:] == kept["reduction"]["keep"]


def _output_of(digits: Path) -> str:
    import onnx

    return str(onnx.load(digits / "digits.onnx").graph.output[0].name)


def _answers(digits: Path, name: str) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(digits / "digits.onnx"))
    (given,) = session.get_inputs()
    return session.run([name], {given.name: np.load(digits / "samples.npz")["image"]})[0]
