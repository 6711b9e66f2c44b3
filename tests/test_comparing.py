"""`compare`: two models to an outcome. What the command makes of it is tests/cli/test_verify.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dlconv.asked.bars import Bars, OutputBars
from dlconv.asked.options import SourceOptions
from dlconv.comparing import compare
from dlconv.errors import RequestError
from dlconv.validators.matching import parse_link
from dlconv.verification import VerifyOptions

pytestmark = pytest.mark.onnx
Bundles = Callable[[str], Path]


@pytest.fixture
def bundle(digits_bundle: Bundles, tmp_path: Path) -> Path:
    """A copy of the bundle for ONNX Runtime, to be spoiled."""
    return Path(shutil.copytree(digits_bundle("onnxruntime"), tmp_path / "digits-onnxruntime-fp32"))


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

    def test_the_command_that_judges_it_again_says_what_was_said(self, two: tuple[Path, Path]) -> None:
        asked = VerifyOptions(
            Bars(3.0, {"*": OutputBars(0.0012345678, max_drop=0.02)}), source=SourceOptions(draws=3, seed=7)
        )
        (outcome,) = compare(two[0], two[0], asked).outcomes
        again = f"dlconv verify {two[0]} --against {two[0]} --factor 3.0 --max-error 0.0012345678 --max-drop 0.02"
        assert outcome.again == f"{again} --draws 3 --seed 7"
        (outcome,) = compare(two[0], two[0], VerifyOptions()).outcomes
        assert outcome.again == f"dlconv verify {two[0]} --against {two[0]}"

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
        assert "shape [16, 1] for sample 0, wanted [16, 4]" in " ".join(report.outcomes[0].reasons)
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
