"""`verify`: bundles to outcomes. What the command makes of them is tests/cli/test_verify.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.asked.bars import Bars, OutputBars
from dlconv.errors import RequestError, SamplesError
from dlconv.records.bundle import open_bundle
from dlconv.records.outcome import Outcome, Report
from dlconv.verification import VerifyOptions, verify
from dlconv.workers import toolchains

pytestmark = pytest.mark.onnx
Bundles = Callable[[str], Path]


@pytest.fixture
def bundle(digits_bundle: Bundles, tmp_path: Path) -> Path:
    """A copy of the bundle for ONNX Runtime, to be spoiled."""
    return Path(shutil.copytree(digits_bundle("onnxruntime"), tmp_path / "digits-onnxruntime-fp32"))


def verified(place: Path, **options: Any) -> Outcome:
    (outcome,) = verify([place], VerifyOptions(**options)).outcomes
    return outcome


def words(outcome: Outcome) -> dict[str, str]:
    return {check.title: check.verdict.word for check in outcome.checks}


def edit(place: Path, change: Callable[[dict[str, Any]], object]) -> None:
    receipt = json.loads((place / "dlconv.json").read_text())
    change(receipt)
    (place / "dlconv.json").write_text(json.dumps(receipt))


class TestBundle:
    def test_it_passes_by_its_own_answers(self, bundle: Path) -> None:
        report = verify([bundle], VerifyOptions())
        (outcome,) = report.outcomes
        assert words(outcome) == dict.fromkeys(
            ("files", "answers", "parity of probabilities", "determinism", "controls"), "PASS"
        )
        assert (report.exit_code, outcome.name, outcome.target) == (0, "digits-onnxruntime-fp32", "onnxruntime")
        assert outcome.again == f"dlconv verify {bundle}"
        assert outcome.body["evidence"]["samples"] == 14

    def test_it_needs_no_source_and_no_cache(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        torch = toolchains.get("torch")
        monkeypatch.setattr(toolchains, "TOOLCHAINS", tuple(t for t in toolchains.TOOLCHAINS if t is not torch))
        monkeypatch.setenv("DLCONV_HOME", str(bundle / "nowhere"))
        assert verified(bundle).word == "PASS"

    @pytest.mark.parametrize("place", [0, 0.5, 1])
    def test_one_byte_of_the_artifact_changed_fails(self, bundle: Path, place: float) -> None:
        file = bundle / "model.onnx"
        whole = bytearray(file.read_bytes())
        whole[int(place * (len(whole) - 1))] ^= 1
        file.write_bytes(whole)
        outcome = verified(bundle)
        assert words(outcome) == {"files": "FAIL"}
        assert "model.onnx is not the file that was made" in outcome.reasons[0]
        assert "evidence" not in outcome.body, "what was measured of another file"

    def test_a_file_that_is_not_there_fails(self, bundle: Path) -> None:
        (bundle / "model.onnx").unlink()
        assert verified(bundle).reasons == ("model.onnx is not there",)

    def test_a_file_outside_of_the_bundle_fails(self, bundle: Path) -> None:
        (bundle / "model.onnx").rename(bundle.parent / "model.onnx")
        (bundle / "model.onnx").symlink_to(bundle.parent / "model.onnx")
        assert verified(bundle).reasons == ("model.onnx lies outside of the bundle",)
        edit(bundle, lambda receipt: receipt["artifact"]["files"][0].update(path="../model.onnx"))
        edit(bundle, lambda receipt: receipt["artifact"].update(entry="../model.onnx"))
        assert verified(bundle).reasons == ("../model.onnx lies outside of the bundle",)

    def test_an_entry_that_no_digest_stands_for_is_refused(self, bundle: Path) -> None:
        """Else any file could be put beside the right one, and be the one that runs."""
        shutil.copy(bundle / "model.onnx", bundle / "other.onnx")
        edit(bundle, lambda receipt: receipt["artifact"].update(entry="other.onnx"))
        with pytest.raises(RequestError, match="damaged"):
            verify([bundle], VerifyOptions())

    def test_a_receipt_without_files_is_refused(self, bundle: Path) -> None:
        edit(bundle, lambda receipt: receipt["artifact"].update(files=[]))
        with pytest.raises(RequestError, match="damaged"):
            verify([bundle], VerifyOptions())

    @pytest.mark.parametrize("file", ["samples.npz", "reference.npz"])
    def test_samples_or_answers_of_another_run_are_refused(self, bundle: Path, file: str) -> None:
        with np.load(bundle / file) as archive:
            arrays = dict(archive)
        key = list(arrays)[-1]
        arrays[key] = arrays[key] * 2
        np.savez(bundle / file, **arrays)
        outcome = verified(bundle)
        assert outcome.word == "ERROR" and isinstance(outcome.error, RequestError)
        assert "are not those of its receipt" in outcome.error.met

    def test_float32_answers_of_another_run_are_refused(self, bundle: Path) -> None:
        """They set the noise floor, and so the bar: worse ones would let a worse artifact pass."""
        with np.load(bundle / "reference.npz") as archive:
            arrays = dict(archive)
        assert any(key.startswith("y64.") for key in arrays)
        moved = {key: value * np.float32(1.0001) if key.startswith("y32.") else value for key, value in arrays.items()}
        np.savez(bundle / "reference.npz", **moved)
        outcome = verified(bundle)
        assert outcome.word == "ERROR" and "are not those of its receipt" in outcome.reasons[0]

    @pytest.mark.parametrize("file", ["samples.npz", "reference.npz"])
    def test_samples_or_answers_that_are_damaged_or_lost_are_refused(self, bundle: Path, file: str) -> None:
        whole = bytearray((bundle / file).read_bytes())
        whole[len(whole) // 2] ^= 0xFF
        (bundle / file).write_bytes(whole)
        assert isinstance(verified(bundle).error, SamplesError)
        (bundle / file).unlink()
        assert isinstance(verified(bundle).error, SamplesError)

    @pytest.mark.parametrize(
        "change",
        [
            lambda receipt: receipt.update(schema=2),
            lambda receipt: receipt.pop("schema"),
            lambda receipt: receipt.pop("artifact"),
            lambda receipt: receipt["artifact"].pop("inputs"),
            lambda receipt: receipt["artifact"].update(files=[{}]),
            lambda receipt: receipt["artifact"].update(files="model.onnx"),
            lambda receipt: receipt["source"].update(signature=None),
            lambda receipt: receipt.pop("reference"),
            lambda receipt: receipt.pop("target"),
            lambda receipt: receipt.update(bars={"factor": "many"}),
            lambda receipt: receipt.update(bars={"factor": -1}),
            lambda receipt: receipt.update(bars={"faktor": 1}),
            lambda receipt: receipt.clear(),
        ],
    )
    def test_a_damaged_receipt_is_a_wrong_request(
        self, bundle: Path, change: Callable[[dict[str, Any]], object]
    ) -> None:
        edit(bundle, change)
        with pytest.raises(RequestError):
            verify([bundle], VerifyOptions())

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"schema"', "\x00"])
    def test_what_is_no_receipt_is_a_wrong_request(self, bundle: Path, text: str) -> None:
        (bundle / "dlconv.json").write_text(text)
        with pytest.raises(RequestError):
            verify([bundle], VerifyOptions())

    def test_a_folder_without_receipt_is_a_wrong_request(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match="no bundle"):
            verify([tmp_path], VerifyOptions())

    def test_a_target_that_nobody_knows_is_skipped(self, bundle: Path) -> None:
        edit(bundle, lambda receipt: receipt.update(target="abacus"))
        assert verified(bundle).word == "SKIPPED"

    def test_bars_of_the_user_take_the_place_of_the_receipt_s(self, bundle: Path) -> None:
        strict = verified(bundle, bars=Bars(factor=0.0))
        assert strict.word == "FAIL"
        assert verified(bundle, bars=Bars(factor=0.5)).word in ("PASS", "FAIL")
        edit(bundle, lambda receipt: receipt.update(bars={"factor": 0.0}))
        assert verified(bundle).word == "FAIL"
        assert verified(bundle, bars=Bars()).word == "PASS"

    def test_a_bar_so_wide_that_it_judges_nothing_is_inconclusive(self, bundle: Path) -> None:
        wide = verified(bundle, bars=Bars(outputs={"probabilities": OutputBars(max_error=10.0)}))
        assert wide.word == "INCONCLUSIVE"
        assert "a stale sample" in wide.reasons[0]

    def test_a_runtime_that_is_missing_is_skipped_and_no_pass(
        self, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lacking = replace(toolchains.get("onnx"), requirements=("onnxruntime>=99",), lock="brick.txt")
        (bundle.parent / "brick.txt").write_text("onnxruntime==99\n")
        monkeypatch.setattr(toolchains, "LOCKS", bundle.parent)
        others = tuple(t for t in toolchains.TOOLCHAINS if t.name != "onnx")
        monkeypatch.setattr(toolchains, "TOOLCHAINS", (*others, lacking))
        report = verify([bundle], VerifyOptions())
        (outcome,) = report.outcomes
        assert (outcome.word, report.exit_code) == ("SKIPPED", 3)
        assert any("dlconv toolchain install onnx" in reason for reason in outcome.reasons)
        allowed = verify([bundle], VerifyOptions(allow_skip=frozenset({"onnxruntime"})))
        assert allowed.exit_code == 3, "nothing else was judged"
        changed = Report((*allowed.outcomes, replace(outcome, verdict=None)), allowed.allowed)
        assert changed.exit_code == 3

    def test_an_artifact_made_for_other_hardware_is_skipped(self, bundle: Path) -> None:
        edit(bundle, lambda receipt: receipt["environment"].update(cpu_features=["x86_64", "warp_drive"]))
        outcome = verified(bundle)
        assert outcome.word == "SKIPPED" and "warp_drive" in " ".join(outcome.reasons)

    def test_a_worker_that_runs_out_of_time_or_memory_is_inconclusive(self, bundle: Path) -> None:
        slow = verified(bundle, timeout_s=0.001)
        assert slow.word == "INCONCLUSIVE" and "time limit" in slow.reasons[0]
        assert verify([bundle], VerifyOptions(timeout_s=0.001)).exit_code == 3
        assert verified(bundle, memory_limit_bytes=1 << 20).word == "INCONCLUSIVE"

    def test_several_bundles_are_judged_each(self, bundle: Path, tmp_path: Path) -> None:
        broken = Path(shutil.copytree(bundle, tmp_path / "broken"))
        (broken / "model.onnx").unlink()
        report = verify([bundle, broken, bundle], VerifyOptions())
        assert [outcome.word for outcome in report.outcomes] == ["PASS", "FAIL", "PASS"]
        assert report.exit_code == 1


class TestLabels:
    @pytest.fixture
    def labels(self, digits: Path, tmp_path: Path) -> Callable[..., Path]:
        def write(classes: Any, name: str = "probabilities") -> Path:
            np.savez(tmp_path / "labels.npz", **{name: np.asarray(classes)})
            return tmp_path / "labels.npz"

        return write

    def test_accuracy_of_both_sides_is_told(self, bundle: Path, labels: Callable[..., Path], digits: Path) -> None:
        reference = open_bundle(bundle).reference().answers.best
        classes = np.concatenate([sample["probabilities"].argmax(axis=1) for sample in reference])
        classes[0] = (classes[0] + 1) % 10
        outcome = verified(bundle, labels=labels(classes))
        assert outcome.word == "PASS"
        (parity,) = (check for check in outcome.checks if check.name == "parity")
        score = parity.figures["accuracy"]
        assert score == {"candidate": len(classes) - 1, "reference": len(classes) - 1, "count": len(classes)}
        low, high = parity.figures["accuracy_interval"]
        assert low < (len(classes) - 1) / len(classes) < high

    def test_labels_of_another_number_or_kind_are_refused(self, bundle: Path, labels: Callable[..., Path]) -> None:
        for classes, name in (([1, 2, 3], "probabilities"), ([0.5] * 14, "probabilities")):
            assert isinstance(verified(bundle, labels=labels(classes, name)).error, SamplesError)
        assert isinstance(verified(bundle, labels=bundle / "nowhere.npz").error, SamplesError)
