"""`verify` and `compare`: from files to outcomes. What the command makes of them is tests/cli/test_verify.py."""

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
from dlconv.validators.matching import parse_link
from dlconv.verification import VerifyOptions, compare, verify
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


TWO = """two (float[N, 6] x) => (float[N, 4] boxes, float[N, 4] sizes) {
 boxes = MatMul(x, w1)
 sizes = MatMul(x, w2)
}"""


def write(path: Path, text: str, seed: int = 0, bias: float = 0.0, **weights: tuple[int, ...]) -> Path:
    """A model in the text form of ONNX, with weights from a seed."""
    import onnx
    import onnx.parser

    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 17]> {text}')
    random = np.random.default_rng(seed)
    for name, shape in weights.items():
        array = random.standard_normal(shape).astype(np.float32) + np.float32(bias)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


class TestCompare:
    @pytest.fixture
    def two(self, tmp_path: Path) -> tuple[Path, Path]:
        """A model, and the same with other names in another order."""
        renamed = (
            TWO.replace("boxes", "out_0").replace("sizes", "out_1").replace(" x)", " input)").replace("(x,", "(input,")
        )
        shapes = {"w1": (6, 4), "w2": (6, 4)}
        return write(tmp_path / "two.onnx", TWO, **shapes), write(tmp_path / "other.onnx", renamed, **shapes)

    def test_a_model_is_itself(self, digits: Path) -> None:
        report = compare(digits / "digits.onnx", digits / "digits.onnx", VerifyOptions())
        assert (report.exit_code, report.outcomes[0].word) == (0, "PASS")

    @pytest.mark.slow
    @pytest.mark.torch
    def test_formats_that_dlconv_did_not_make_are_compared(self, digits: Path) -> None:
        report = compare(digits / "digits.onnx", digits / "digits.pt2", VerifyOptions())
        assert report.exit_code == 0, report.outcomes
        (outcome,) = report.outcomes
        assert outcome.body["reference"]["precision"] == "float64"

    def test_two_outputs_of_one_form_are_asked_for_and_never_tried(self, two: tuple[Path, Path]) -> None:
        with pytest.raises(RequestError) as caught:
            compare(two[1], two[0], VerifyOptions())
        assert "--map boxes=out_0" in caught.value.mend and "--map boxes=out_1" in caught.value.mend

    def test_what_the_user_says_is_what_is_judged(self, two: tuple[Path, Path]) -> None:
        right = compare(two[1], two[0], VerifyOptions(links=(parse_link("boxes=out_0"),)))
        assert right.exit_code == 0
        assert "output sizes of the reference is out_1" in right.outcomes[0].body["artifact"]["pairs"][-1]
        wrong = compare(two[1], two[0], VerifyOptions(links=(parse_link("boxes=out_1"),)))
        assert wrong.exit_code == 1

    def test_another_model_of_the_same_signature_fails(self, two: tuple[Path, Path], tmp_path: Path) -> None:
        shapes = {"w1": (6, 4), "w2": (6, 4)}
        other = write(tmp_path / "seed.onnx", TWO, seed=1, **shapes)
        assert compare(other, two[0], VerifyOptions()).exit_code == 1

    def test_an_output_that_the_candidate_lacks_fails(self, two: tuple[Path, Path], tmp_path: Path) -> None:
        less = TWO.replace(", float[N, 4] sizes", "").replace(" sizes = MatMul(x, w2)\n", "")
        lacking = write(tmp_path / "less.onnx", less, w1=(6, 4))
        report = compare(lacking, two[0], VerifyOptions())
        assert report.exit_code == 1
        assert "lacks sizes" in report.outcomes[0].reasons[0]

    def test_an_output_that_the_candidate_has_besides_fails(self, two: tuple[Path, Path], tmp_path: Path) -> None:
        less = TWO.replace(", float[N, 4] sizes", "").replace(" sizes = MatMul(x, w2)\n", "")
        lacking = write(tmp_path / "less.onnx", less, w1=(6, 4))
        report = compare(two[0], lacking, VerifyOptions())
        assert report.exit_code == 1
        assert "has sizes besides" in report.outcomes[0].reasons[0]

    def test_a_shape_that_would_broadcast_fails(self, two: tuple[Path, Path], tmp_path: Path) -> None:
        narrow = write(tmp_path / "narrow.onnx", TWO.replace("4]", "1]"), w1=(6, 1), w2=(6, 1))
        report = compare(narrow, two[0], VerifyOptions())
        assert report.exit_code == 1
        assert "shape [2, 1] for sample 0, wanted [2, 4]" in " ".join(report.outcomes[0].reasons)
        said = TWO.replace("4] boxes", "K] boxes").replace("4] sizes", "K] sizes")
        free = write(tmp_path / "free.onnx", said, w1=(6, 1), w2=(6, 1))
        report = compare(free, two[0], VerifyOptions())
        assert report.exit_code == 1
        assert "shape" in " ".join(report.outcomes[0].reasons)

    def test_other_inputs_are_refused(self, digits: Path, two: tuple[Path, Path]) -> None:
        with pytest.raises(RequestError):
            compare(digits / "digits.onnx", two[0], VerifyOptions())

    def test_a_bundle_can_be_either_side(self, digits_bundle: Bundles, digits: Path) -> None:
        place = digits_bundle("onnxruntime")
        assert compare(place, digits / "digits.onnx", VerifyOptions()).exit_code == 0
        assert compare(digits / "digits.onnx", place, VerifyOptions()).exit_code == 0

    def test_a_file_of_no_known_format_is_refused(self, digits: Path, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(b"no model")
        with pytest.raises(RequestError):
            compare(tmp_path / "model.bin", digits / "digits.onnx", VerifyOptions())

    def test_an_openvino_reference_has_no_float64_and_says_so(self, digits_bundle: Bundles, digits: Path) -> None:
        pytest.importorskip("openvino")
        report = compare(digits / "digits.onnx", digits_bundle("openvino"), VerifyOptions())
        (outcome,) = report.outcomes
        assert (outcome.word, outcome.body["reference"]["precision"]) == ("PASS", "float32")
        assert outcome.body["reference"]["reason"]


@pytest.mark.onnx2tf
@pytest.mark.tflite
class TestForeignTflite:
    """A TFLite file as others make it: channels last, names of their own."""

    @pytest.fixture(scope="class")
    def foreign(self, digits_bundle: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The bundle's file without the transposition at its door."""
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        whole = bytearray((digits_bundle("tflite") / "model.tflite").read_bytes())
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(whole, 0))
        (graph,) = model.subgraphs
        turn = graph.operators.pop(0)
        inner = graph.tensors[turn.outputs[0]]
        inner.shape, inner.shapeSignature, inner.name = [1, 8, 8, 1], [-1, 8, 8, 1], b"serving_default_x:0"
        graph.tensors[graph.outputs[0]].name = b"StatefulPartitionedCall:0"
        graph.inputs, model.signatureDefs = [turn.outputs[0]], []
        builder = flatbuffers.Builder(1 << 17)
        builder.Finish(model.Pack(builder), b"TFL3")
        path = tmp_path_factory.mktemp("foreign") / "foreign.tflite"
        path.write_bytes(bytes(builder.Output()))
        return path

    def test_names_and_layout_that_leave_no_choice_are_found_and_told(self, foreign: Path, digits: Path) -> None:
        report = compare(foreign, digits / "digits.onnx", VerifyOptions())
        (outcome,) = report.outcomes
        assert (outcome.word, report.exit_code) == ("PASS", 0), outcome
        pairs = outcome.body["artifact"]["pairs"]
        assert "image of the reference is x of the candidate, axes 0,2,3,1" in pairs[0]

    def test_a_bias_that_folding_dropped_fails(self, foreign: Path, digits: Path, tmp_path: Path) -> None:
        from ai_edge_litert import schema_py_generated as schema

        whole = bytearray(foreign.read_bytes())
        model = schema.Model.GetRootAs(whole, 0)
        graph = model.Subgraphs(0)
        operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
        biased = [each for each in operators if each.InputsLength() == 3]
        bias = graph.Tensors(biased[-1].Inputs(2))  # of the last layer
        model.Buffers(bias.Buffer()).DataAsNumpy()[:] = 0
        (tmp_path / "dropped.tflite").write_bytes(whole)
        report = compare(tmp_path / "dropped.tflite", digits / "digits.onnx", VerifyOptions())
        (parity,) = (check for check in report.outcomes[0].checks if check.name == "parity")
        assert report.exit_code == 1
        assert parity.figures["cosine"] > 0.999, "what a cosine would have passed"

    def test_the_wrong_layout_is_never_tried(self, tmp_path: Path) -> None:
        """8 x 8 x 8: both orders fit, and only one is right."""
        from dlconv.asked.options import ExportOptions
        from dlconv.pipeline import export

        text = "cube (float[1, 8, 8, 8] x) => (float[1, 4] y) {\n c = Conv<pads = [1, 1, 1, 1]>(x, w)\n" \
            " m = GlobalMaxPool(c)\n y = Flatten(m)\n}"  # fmt: skip
        cube = write(tmp_path / "cube.onnx", text, w=(4, 8, 3, 3))
        (made,) = export(cube, ExportOptions(("tflite",), tmp_path / "out")).outcomes
        assert made.path is not None and made.word == "PASS", made
        with pytest.raises(RequestError) as caught:
            compare(made.path / "model.tflite", cube, VerifyOptions())
        assert caught.value.mend.splitlines() == [
            "--map x=x:same", "--map x=x:0,2,3,1", "--map x=x:0,3,1,2"
        ]  # fmt: skip
        codes = {
            layout: compare(
                made.path / "model.tflite", cube, VerifyOptions(links=(parse_link(f"x=x:{layout}"),))
            ).exit_code
            for layout in ("same", "nhwc")
        }
        assert codes == {"same": 0, "nhwc": 1}
