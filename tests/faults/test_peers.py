"""What other tools' checks let pass, row by row: the same stimulus must not pass here.

Each test is named for the stimulus; the tool it fooled stands beside it. Where the row is about an exit code, the
real command runs.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fault_judge import Bench, Judged, Original, broken, judged
from fault_models import MODELS, Model, drawn, text

from dlconv.asked.bars import Bars, OutputBars
from dlconv.asked.options import SourceOptions
from dlconv.candidate import RUNTIMES, Wanted
from dlconv.cli import main as door
from dlconv.hardware.here import cpu_features
from dlconv.making.cache import Cache
from dlconv.records.bundle import open_bundle
from dlconv.validators.answers import Answers, noise_floors
from dlconv.validators.evidence import Evidence
from dlconv.validators.judging import judge
from dlconv.validators.parity import measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.workers.crew import Crew

pytestmark = pytest.mark.onnx
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, crew: Crew) -> Bench:
    return Bench(tmp_path_factory.mktemp("peers"), crew)


def dlconv(*words: object) -> int:
    """The exit code of the command."""
    return door.run([str(word) for word in words])


def compared(tmp_path: Path, reference: Model, candidate: Model, *words: str) -> int:
    """The exit code of `dlconv verify CANDIDATE --against REFERENCE`."""
    right, other = reference.write(tmp_path / "right.onnx"), candidate.write(tmp_path / "candidate.onnx")
    return dlconv("verify", other, "--against", right, *words)


def found(judged: Judged, told: str) -> None:
    assert judged.verdict.word == "FAIL", judged
    assert told in " ".join(judged.verdict.reasons), judged


def evidence(y64: list[dict[str, Any]], candidate: list[dict[str, Any]], dtype: Any = np.float32) -> Evidence:
    reference = Answers(tuple({n: np.asarray(a).astype(dtype) for n, a in s.items()} for s in y64), tuple(y64))
    floors = noise_floors(reference.best, [reference.y32])
    return measure(reference, candidate, 40.0, floors)


DENSE = Model("dense (float[3, 6] x) => (float[3, 6] y) {\n y = MatMul(x, w)\n}", drawn(1, w=(6, 6)))


class TestOptimumOnnx:
    def test_all_outputs_nan(self, bench: Bench) -> None:
        found(bench.original("cnn").judge(bench.original("cnn").path, broken("all NaN")), "error inf")

    def test_all_outputs_nan_in_the_file_exit_1(self, tmp_path: Path) -> None:
        bad = Model(DENSE.graph, {"w": np.full((6, 6), np.nan, np.float32)})
        assert compared(tmp_path, DENSE, bad) == 1

    def test_logits_shifted_by_1000(self, bench: Bench) -> None:
        found(bench.original("cnn").judge(bench.original("cnn").path, broken("shifted")), "would have been needed")

    def test_checker_process_killed_by_a_signal(self, bench: Bench) -> None:
        found(bench.original("cnn").judge(bench.original("cnn").path, broken("dies")), "ended by SIGSEGV")

    def test_bool_output_wrong(self, tmp_path: Path) -> None:
        right = Model("b (float[3, 6] x) => (bool[3, 6] y) {\n y = Greater(x, zero)\n}", {"zero": np.float32(0)})
        assert compared(tmp_path, right, text("Greater", "Less")(right)) == 1

    def test_uint8_difference_that_wraps(self) -> None:
        """0 - 255 is 1 in uint8: closer than a tolerance of 1."""
        right = [{"y": np.array([255, i], np.uint8)} for i in range(3)]
        wrong = [{"y": np.array([0, i], np.uint8)} for i in range(3)]
        seen = evidence(right, wrong, np.uint8)
        assert judge(seen).word == "FAIL" and seen.outputs[0].mismatches == 3


class TestOlive:
    def test_wrong_by_500(self, tmp_path: Path) -> None:
        far = Model(
            DENSE.graph.replace("y = MatMul(x, w)", "m = MatMul(x, w)\n y = Add(m, far)"),
            {**DENSE.weights, "far": np.float32(500)},
        )
        assert compared(tmp_path, DENSE, far) == 1

    def test_a_pass_raises(self, bench: Bench) -> None:
        found(bench.original("cnn").judge(bench.original("cnn").path, broken("refuses")), "an internal error")

    def test_goals_made_only_of_thresholds_are_judged(self, tmp_path: Path) -> None:
        assert compared(tmp_path, DENSE, DENSE) == 0
        assert compared(tmp_path, DENSE, DENSE, "--min-sqnr-db", "500") == 1


class TestOnnx2tf:
    def test_square_matrix_transposed(self, tmp_path: Path) -> None:
        assert compared(tmp_path, DENSE, Model(DENSE.graph, {"w": DENSE.weights["w"].T.copy()})) == 1
        turned = text("y = MatMul(x, w)", "m = MatMul(x, w)\n y = Transpose(m)")
        square = Model(DENSE.graph.replace("[3, 6]", "[6, 6]"), DENSE.weights)
        assert compared(tmp_path, square, turned(square)) == 1

    def test_1_8_8_8_in_the_wrong_layout(self, bench: Bench) -> None:
        path = text("y = Tanh(c)", "t = Tanh(c)\n y = Transpose<perm = [0, 2, 3, 1]>(t)")
        wrong = path(MODELS["layout"]()).write(bench.folder / "turned.onnx")
        found(bench.original("layout").judge(wrong), "would have been needed")

    def test_wrong_1_d_output(self, tmp_path: Path) -> None:
        flat = Model("f (float[6] x) => (float[6] y) {\n y = MatMul(x, w)\n}", DENSE.weights)
        assert compared(tmp_path, flat, Model(flat.graph, {"w": flat.weights["w"] * 2})) == 1

    @pytest.mark.parametrize("fault", ["one NaN", "flattened", "axis more"])
    def test_nan_and_wrong_shape_are_not_skipped(self, fault: str, bench: Bench) -> None:
        judged = bench.original("layout").judge(bench.original("layout").path, broken(fault))
        assert judged.verdict.word == "FAIL"

    def test_20_detections_lost_beside_boxes_of_0_to_640(self) -> None:
        random = np.random.default_rng(0)
        right = [{"boxes": random.uniform(0, 640, (20, 4)), "scores": random.uniform(0, 1, 20)} for _ in range(4)]
        lost = [{"boxes": s["boxes"].astype(np.float32), "scores": np.zeros(20, np.float32)} for s in right]
        seen = evidence(right, lost)
        assert judge(seen).word == "FAIL"
        assert [output.name for output in seen.outputs if output.error > 1e-3] == ["scores"]

    def test_3_of_1000_values_nan(self) -> None:
        right = [{"y": np.random.default_rng(i).standard_normal(1000)} for i in range(4)]
        wrong = [{"y": s["y"].astype(np.float32)} for s in right]
        wrong[2]["y"][[10, 500, 999]] = np.nan
        assert judge(evidence(right, wrong)).word == "FAIL"

    def test_integer_inputs_are_no_zeros(self, bench: Bench) -> None:
        """Zeros would show nothing of an embedding but its first row."""
        samples = bench.original("integers").source.samples.samples
        assert all(np.unique(sample["ids"]).size > 1 for sample in samples)


class TestPolygraphy:
    def test_an_output_missing(self, bench: Bench) -> None:
        original = bench.original("detector")
        found(original.judge(original.path, broken("output lost")), "lacks keep")

    def test_no_iterations(self) -> None:
        assert judge(measure(Answers((), ()), [], 40.0, {})).word != "PASS"

    def test_no_samples_in_the_file_exit_2(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "none.npz", x=np.zeros((0, 3, 6), np.float32))
        assert compared(tmp_path, DENSE, DENSE, "--samples", str(tmp_path / "none.npz")) == 2

    def test_5_iterations_against_1(self) -> None:
        right = [{"y": np.arange(4.0) + i} for i in range(5)]
        as_single = [{"y": s["y"].astype(np.float32)} for s in right]
        assert judge(evidence(right, as_single[:1])).word == "FAIL"
        assert judge(evidence(right[:1], as_single)).word == "FAIL"

    def test_float_against_int64(self, tmp_path: Path) -> None:
        whole = Model("c (float[3, 6] x) => (float[3, 6] y) {\n y = Round(x)\n}")
        cast = Model("c (float[3, 6] x) => (int64[3, 6] y) {\n r = Round(x)\n y = Cast<to = 7>(r)\n}")
        assert compared(tmp_path, whole, cast) == 1

    def test_outputs_of_other_names_are_not_paired_by_position(self, tmp_path: Path) -> None:
        two = "t (float[3, 6] x) => (float[3, 6] a, float[3, 6] b) {\n a = MatMul(x, w)\n b = Neg(a)\n}"
        renamed = (
            two.replace("a,", "p,").replace(" b)", " q)").replace("a =", "p =").replace("b = Neg(a)", "q = Neg(p)")
        )
        assert compared(tmp_path, Model(two, DENSE.weights), Model(renamed, DENSE.weights)) == 2
        assert compared(tmp_path, Model(two, DENSE.weights), Model(renamed, DENSE.weights), "--map", "a=q") == 1
        assert compared(tmp_path, Model(two, DENSE.weights), Model(renamed, DENSE.weights), "--map", "a=p") == 0

    def test_an_absolute_floor_does_not_hide_12x_at_1e_9(self, tmp_path: Path) -> None:
        tiny = Model(DENSE.graph, {"w": DENSE.weights["w"] * np.float32(1e-9)})
        assert compared(tmp_path, tiny, Model(tiny.graph, {"w": tiny.weights["w"] * np.float32(12)})) == 1


class TestTrtexec:
    def test_int64_bool_and_bfloat16_outputs_are_not_skipped(self, tmp_path: Path) -> None:
        for kind, number in (("int64", 7), ("bool", 9), ("uint8", 2), ("float16", 10), ("double", 11)):
            cast = Model(
                f"k (float[3, 6] x) => ({kind}[3, 6] y) {{\n a = Abs(x)\n b = Ceil(a)\n c = Sub(b, one)\n"
                f" y = Cast<to = {number}>(c)\n}}",
                {"one": np.float32(1)},
            )
            assert compared(tmp_path, cast, Model(cast.graph, {"one": np.float32(0)})) == 1, kind

    def test_a_bfloat16_output_is_judged(self) -> None:
        ml_dtypes = pytest.importorskip("ml_dtypes")
        right = [{"y": np.arange(8.0) + i} for i in range(3)]
        wrong = [{"y": (s["y"] * 3).astype(ml_dtypes.bfloat16)} for s in right]
        reference = Answers(tuple({"y": s["y"].astype(ml_dtypes.bfloat16)} for s in right), None)
        assert judge(measure(reference, wrong, 40.0, {"y": 1e-7})).word == "FAIL"
        assert judge(measure(reference, list(reference.y32), 40.0, {"y": 1e-7})).word == "PASS"

    def test_no_reference_is_no_pass(self, digits: Path) -> None:
        assert dlconv("verify", digits / "digits.onnx") == 2


class TestModelNavigator:
    def test_any_error_is_no_ok(self, tmp_path: Path) -> None:
        (tmp_path / "broken.onnx").write_bytes(DENSE.write(tmp_path / "right.onnx").read_bytes()[:-40])
        assert dlconv("verify", tmp_path / "broken.onnx", "--against", tmp_path / "right.onnx") != 0


class TestAutoCast:
    def test_weights_under_the_float16_minimum_replaced_by_6e_8(self, tmp_path: Path) -> None:
        """2^-24 is the least that float16 has; with weights below it, answers are many times too large."""
        least = np.float32(2.0**-24)
        tiny = Model(DENSE.graph, {"w": DENSE.weights["w"] * np.float32(5e-9)})
        lifted = np.where(np.abs(tiny.weights["w"]) < least, np.copysign(least, tiny.weights["w"]), tiny.weights["w"])
        assert compared(tmp_path, tiny, Model(tiny.graph, {"w": lifted.astype(np.float32)})) == 1


class TestAccuracyChecker:
    def labels(self, tmp_path: Path) -> tuple[str, str]:
        random = np.random.default_rng(0)
        np.savez(tmp_path / "samples.npz", x=random.standard_normal((20, 3, 6)).astype(np.float32))
        np.savez(tmp_path / "labels.npz", y=random.integers(0, 6, 60))
        return str(tmp_path / "samples.npz"), str(tmp_path / "labels.npz")

    def test_a_metric_below_its_threshold_exits_1(self, tmp_path: Path) -> None:
        samples, labels = self.labels(tmp_path)
        words = ("--samples", samples, "--labels", labels, "--max-error", "10")
        coarse = Model(DENSE.graph, {"w": -DENSE.weights["w"]})
        assert compared(tmp_path, DENSE, coarse, *words, "--min-top1", "0.9") == 1

    def test_a_nan_metric_is_no_pass(self) -> None:
        right = [{"y": np.random.default_rng(i).standard_normal((4, 6))} for i in range(3)]
        wrong = [{"y": np.full((4, 6), np.nan, np.float32)} for _ in right]
        seen = evidence(right, wrong)
        for bar in ("min_cosine", "min_sqnr_db", "min_top1"):
            wide = Bars(outputs={"*": OutputBars(max_error=1e9, **{bar: 0.0})})
            assert judge(seen, wide).word == "FAIL", bar


class TestLitertTorch:
    @pytest.mark.parametrize("shape", [(1, 6), (3, 1), (1, 1), (6,), ()])
    def test_a_shape_that_broadcasts_is_another_shape(self, shape: tuple[int, ...]) -> None:
        right = [{"y": np.full((3, 6), i + 1.0)} for i in range(3)]
        wrong = [{"y": np.full(shape, i + 1.0, np.float32)} for i in range(3)]
        assert judge(evidence(right, wrong)).word == "FAIL"


class TestTensorRT:
    def test_a_precision_that_is_asked_for_is_never_dropped(self, digits: Path, tmp_path: Path) -> None:
        """`--fp16` that leaves float32 behind: either it is honoured and attested, or refused."""
        code = dlconv("export", digits / "digits.onnx", "--to", "onnx", "--precision", "fp16", "-o", tmp_path / "out")
        written = list((tmp_path / "out").glob("*fp16*"))
        assert code != 0 or written, "it said that it was done, and nothing in fp16 is there"


@pytest.mark.openvino
class TestOpenVino:
    def test_bfloat16_is_not_taken_by_default(self, digits_bundle: Callable[[str], Path]) -> None:
        """On CPUs that have it the plugin would take it; ours asks for float32, and tells what really ran."""
        receipt = json.loads((digits_bundle("openvino") / "dlconv.json").read_text())
        assert receipt["evidence"]["placement"]["precision"] == "float32"

    @pytest.mark.skipif("avx512_bf16" not in cpu_features(), reason="this CPU has no bfloat16")
    def test_bfloat16_that_the_plugin_takes_fails(self, crew: Crew, digits_bundle: Callable[[str], Path]) -> None:
        bundle = open_bundle(digits_bundle("openvino"))
        runtime = replace(RUNTIMES["openvino"], settings={"precision": "default"})
        wanted = Wanted(bundle.source_signature, bundle.reference(), {})
        judged_so = judged(bundle.entry, bundle.signature, runtime, wanted, crew)
        found(judged_so, "would have been needed")


@pytest.mark.onnx2tf
@pytest.mark.tflite
class TestOnnx2tfFiles:
    def test_a_file_that_does_not_run_fails(self, digits_bundle: Callable[[str], Path], tmp_path: Path) -> None:
        """onnx2tf's float16 file has a MAX_POOL_2D in float16, for which no kernel is there."""
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        whole = bytearray((digits_bundle("tflite") / "model.tflite").read_bytes())
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(whole, 0))
        (graph,) = model.subgraphs
        codes = [model.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators]
        pool = graph.operators[codes.index(schema.BuiltinOperator.MAX_POOL_2D)]
        for tensor in (*pool.inputs, *pool.outputs):
            graph.tensors[tensor].type = schema.TensorType.FLOAT16
        builder = flatbuffers.Builder(1 << 17)
        builder.Finish(model.Pack(builder), b"TFL3")
        (tmp_path / "half.tflite").write_bytes(bytes(builder.Output()))
        against = ROOT / "models" / "digits" / "digits.onnx"
        assert dlconv("verify", tmp_path / "half.tflite", "--against", against) == 1


def test_one_sample_and_an_artifact_that_holds_its_answer(crew: Crew, tmp_path: Path) -> None:
    """No other tool's: ours passed it once."""
    one = Original(DENSE.write(tmp_path / "right.onnx"), crew, Cache(tmp_path / "cache"), SourceOptions(draws=1))
    held = Model(
        DENSE.graph.replace("y = MatMul(x, w)", "z = Sub(x, x)\n y = Add(z, w)"),
        {"w": one.reference.answers.y32[0]["y"]},
    )
    said = one.judge(held.write(tmp_path / "held.onnx"))
    assert (said.verdict.word, said.error is not None and said.error < 1e-6) == ("INCONCLUSIVE", True)
