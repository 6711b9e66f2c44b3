"""The search by its API: what is asked, what becomes of a contender, and faults that were planted."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import dlconv
from dlconv.asked.bars import EVERY, Bars, LatencyBars, OutputBars
from dlconv.asked.inputs import parse_inputs
from dlconv.asked.precisions import PRECISIONS
from dlconv.cli import main as door
from dlconv.errors import RequestError
from dlconv.events import Silence
from dlconv.making.cache import Cache
from dlconv.records.bundle import open_bundle
from dlconv.tuning.contender import Setting
from dlconv.tuning.kept import Shelf
from dlconv.tuning.options import CHEAPEST_FIRST, TuneOptions
from dlconv.tuning.stopwatch import Stopwatch

pytestmark = pytest.mark.onnx


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))


def asked(digits: Path, place: Path, *targets: str, **further: object) -> TuneOptions:
    export = dlconv.ExportOptions(targets or ("onnxruntime",), place, samples=digits / "samples.npz")
    known: dict[str, object] = {"precisions": ("fp32", "int8"), "threads": (1,), "time_s": 3.0, **further}
    return TuneOptions(export, **known)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_measures_what_passed_and_its_command_makes_the_same_file(digits: Path, tmp_path: Path) -> None:
    model = digits / "digits.onnx"
    found = dlconv.tune(model, asked(digits, tmp_path / "out", "onnxruntime", "tensorrt", budget_s=3000.0))
    words = {each.setting.target + each.setting.precision: each.word for each in found.contenders}
    assert words["onnxruntimefp32"] == words["onnxruntimeint8"] == "PASS"
    assert {each.setting.precision for each in found.front} <= {"fp32", "int8"} and found.front
    lacking = [each for each in found.contenders if each.setting.target == "tensorrt"]
    if all(each.word == "SKIPPED" for each in lacking):  # a machine without a GPU
        assert all(each.reasons and each not in found.front for each in lacking)
    (evidence, *_) = found.measurements
    assert [side.name for side in evidence.sides] == ["onnxruntime fp32, 1 thread", "onnxruntime int8, 1 thread"]
    assert {side.threads for side in evidence.sides} == {1} and evidence.noise > 0
    winner = found.winner
    assert winner is not None and found.exit_code == 0
    words_again = shlex.split(winner.command)
    assert words_again[:2] == ["dlconv", "export"] and words_again[-2:] == ["-o", str(tmp_path / "out")]
    assert door.run([*words_again[1:-1], str(tmp_path / "again")]) == 0
    name = f"digits-{winner.setting.target}-{winner.setting.precision}"
    receipts = [json.loads((tmp_path / place / name / "dlconv.json").read_text()) for place in ("out", "again")]
    digests = [[file["digest"] for file in receipt["artifact"]["files"]] for receipt in receipts]
    assert digests[0] == digests[1]


def test_a_budget_that_is_over_leaves_nothing_on_the_front(digits: Path, tmp_path: Path) -> None:
    found = dlconv.tune(digits / "digits.onnx", asked(digits, tmp_path / "out", budget_s=1.5, threads=(1, 2)))
    assert len(found.contenders) == 4 and {each.word for each in found.contenders} == {"NOT REACHED"}
    assert all("the budget ended" in each.reasons[0] for each in found.contenders)
    assert (found.front, found.winner, found.exit_code) == ((), None, 3)


def test_int8_without_samples_is_skipped_with_what_mends_it(digits: Path, tmp_path: Path) -> None:
    export = dlconv.ExportOptions(("onnxruntime", "tensorrt"), tmp_path / "out")
    found = dlconv.tune(digits / "digits.onnx", TuneOptions(export, precisions=("int8",), threads=(1,), budget_s=1.5))
    skipped = {each.setting.precision: each for each in found.contenders if each.setting.target == "onnxruntime"}
    assert skipped["int8"].word == "SKIPPED" and "--calibration" in skipped["int8"].reasons[1]


def test_a_precision_that_a_target_has_no_way_to_is_skipped(digits: Path, tmp_path: Path) -> None:
    found = dlconv.tune(digits / "digits.onnx", asked(digits, tmp_path, precisions=("bf16",), budget_s=1.5))
    (told,) = [each for each in found.contenders if each.setting.precision == "bf16"]
    assert told.word == "SKIPPED" and told.reasons


def test_a_wrong_model_is_told_before_any_work(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        dlconv.tune(tmp_path / "none.onnx", asked(digits, tmp_path))
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(RequestError):
        dlconv.tune(tmp_path / "text.onnx", asked(digits, tmp_path))


def exported(digits: Path, place: Path) -> Path:
    options = dlconv.ExportOptions(("onnxruntime",), place, samples=digits / "samples.npz")
    (outcome,) = dlconv.export(digits / "digits.onnx", options).outcomes
    assert outcome.path is not None and outcome.word == "PASS"
    return outcome.path


def spoilt(bundle: Path, place: Path, content: bytes | None = None) -> Path:
    """A bundle whose receipt names its file rightly, and whose file is another model, or none at all."""
    shutil.copytree(bundle, place)
    receipt = json.loads((place / "dlconv.json").read_text())
    file = place / receipt["artifact"]["entry"]
    if content is None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load(file)
        tensor = next(each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.5, tensor.name))
        onnx.save(model, file)
    else:
        file.write_bytes(content)
    (told,) = receipt["artifact"]["files"]
    told["digest"] = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    (place / "dlconv.json").write_text(json.dumps(receipt))
    return place


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_planted_faults_are_found_while_it_is_timed(digits: Path, tmp_path: Path) -> None:
    """One answers wrongly under the clock, one does not open: neither is timed, and the third is."""
    good = exported(digits, tmp_path / "good")
    wrong, broken = spoilt(good, tmp_path / "wrong"), spoilt(good, tmp_path / "broken", b"no model")
    base, changed, twin, lost = (Setting("onnxruntime", name, 1) for name in ("fp32", "fp16", "int8-weights", "int8"))
    paths = {(each.target, each.precision): path for each, path in
             ((base, good), (changed, wrong), (twin, good), (lost, broken))}  # fmt: skip
    shelf = Shelf(Cache(), {}, is_anew=False)
    watch = Stopwatch(asked(digits, tmp_path), time.monotonic() + 3000, Silence(), shelf)
    found = watch.time(base, [changed, twin], paths, 0.03)
    assert {setting.precision: timed.word for setting, timed in found.items()} == {
        "fp32": "PASS",
        "fp16": "FAIL",
        "int8-weights": "PASS",
    }
    assert found[changed].timing is None and "while it was timed" in found[changed].reasons[0]
    assert found[twin].timing is not None and found[twin].timing.ratio is not None
    assert watch.anchor == base and watch.anchor_ms is not None
    found = watch.time(base, [lost], paths, 0.03)
    assert found[lost].word == "ERROR" and "does not run under the clock" in found[lost].reasons[0]
    found = watch.time(lost, [twin], paths, 0.03)
    assert found[lost].word == "ERROR" and found[twin].word == "INCONCLUSIVE", "its baseline does not run"
    again = Stopwatch(asked(digits, tmp_path), time.monotonic() + 3000, Silence(), shelf)
    assert again.recalled(base, [base, changed, twin, lost], paths).keys() == {base, twin}, "a failure is not kept"


def test_all_that_is_wrong_with_a_request_is_told_at_once(digits: Path, tmp_path: Path) -> None:
    export = dlconv.ExportOptions(("onnxruntime",), tmp_path)
    with pytest.raises(RequestError) as told:
        TuneOptions(export, threads=(0,), budget_s=float("inf"), wish=dlconv.Wish(min_speedup=0.0, max_drop=2.0))
    text = " ".join(told.value.problems)
    assert all(word in text for word in ("0 threads", "the budget", "the speedup", "the largest drop", "--labels"))
    for bars in (Bars(latency=LatencyBars(max_ratio=1.0)), Bars(outputs={EVERY: OutputBars(min_cosine=0.9)})):
        with pytest.raises(RequestError, match="cannot be made so"):
            TuneOptions(dlconv.ExportOptions(("onnx",), tmp_path, bars=bars))
    with pytest.raises(RequestError, match="cannot be made so"):
        TuneOptions(dlconv.ExportOptions(("onnx",), tmp_path, precision="fp16"))


def test_the_cheapest_comes_first_and_float32_always() -> None:
    options = TuneOptions(dlconv.ExportOptions(("tflite", "onnx"), Path()), precisions=("int8", "fp16"), threads=(1, 4))
    assert options.in_order == ("fp32", "fp16", "int8")
    assert sorted(CHEAPEST_FIRST) == sorted(PRECISIONS), "one that is asked for is made"
    told = [(each.target, each.precision, each.threads, each.option) for each in options.settings]
    assert told[0] == ("tflite", "fp32", 4, "") and told[6] == ("tflite", "fp32", 1, "")
    assert told[12] == ("tflite", "fp32", 4, "xnnpack=off") and told[-1] == ("onnx", "int8", 4, "optimisation=basic")
    assert len({each.name for each in options.settings}) == len(options.settings) == 18
    on_device = TuneOptions(dlconv.ExportOptions(("onnx", "tensorrt"), Path()), threads=(1, 4), options=())
    counts = [(each.target, each.threads) for each in on_device.settings if each.precision == "fp32"]
    assert counts == [("onnx", 4), ("tensorrt", 4), ("onnx", 1)]


def test_options_of_runtimes_are_tried_by_those_that_have_them() -> None:
    def tried(*options: str, to: tuple[str, ...] = ("onnx", "onnxruntime", "openvino")) -> list[tuple[str, str]]:
        export = dlconv.ExportOptions(to, Path())
        settings = TuneOptions(export, precisions=("fp32",), threads=(2,), options=options).settings
        return [(each.target, each.option) for each in settings if each.option]

    assert tried() == []
    assert tried("execution=parallel") == [("onnx", "execution=parallel"), ("onnxruntime", "execution=parallel")]
    both = tried("optimisation=none", "hint=throughput")
    assert both == [("onnx", "optimisation=none"), ("openvino", "hint=throughput")], (
        "onnxruntime's files are run so anyway"
    )
    with pytest.raises(RequestError) as told:
        tried("xnnpack=off")
    assert "no runtime of onnx, onnxruntime, openvino has the option 'xnnpack=off'" in told.value.problems[0]
    with pytest.raises(RequestError) as told:
        TuneOptions(dlconv.ExportOptions(("onnx",), Path()), threads=(1,), options=("execution=parallel",))
    assert told.value.problems == ("the option execution=parallel is nothing with 1 thread",)


def test_how_a_contender_is_run_and_timed_is_said(tmp_path: Path) -> None:
    options = TuneOptions(dlconv.ExportOptions(("onnx", "tflite"), tmp_path, name="my net"), keeps_bundles=False)
    assert options.how(Setting("tflite", "fp32", 1)) == "1 thread"
    told = options.how(Setting("onnx", "fp32", 4, "execution=parallel"))
    assert told.startswith("4 threads and execution=parallel: ") and "inter_op_num_threads = 4" in told
    words = shlex.split(options.bench(Path("m.pt"), Setting("tflite", "int8", 2, "xnnpack=off")))
    assert words == ["dlconv", "bench", "my net-tflite-int8", "--threads", "2", "--option", "xnnpack=off"]
    kept = TuneOptions(dlconv.ExportOptions(("onnx",), tmp_path)).bench(Path("m.pt"), Setting("onnx", "fp32", 2))
    assert kept == f"dlconv bench {tmp_path / 'm-onnx-fp32'} --threads 2"


def test_a_metric_is_asked_of_every_export_with_the_drop_as_its_bar(tmp_path: Path) -> None:
    bars = Bars(outputs={EVERY: OutputBars(0.05), "y": OutputBars(1e-3)})
    export = dlconv.ExportOptions(("onnx",), tmp_path, samples=Path("s.npz"), labels=Path("l.npz"), bars=bars)
    wish = dlconv.Wish(max_drop=0.005, metric="map boxes=B scores=S classes=C")
    options = TuneOptions(export, wish=wish)
    made = options.at(("onnx",), "int8")
    assert made.metric == wish.metric and made.bars.of("y") == OutputBars(1e-3, max_drop=0.005)
    words = shlex.split(options.command(Path("m.pt"), Setting("onnx", "int8", 1)))
    assert words[words.index("--metric") + 1] == wish.metric and words[words.index("--max-drop") + 1] == "0.5%"
    plain = TuneOptions(export, wish=dlconv.Wish(max_drop=0.005))
    assert plain.at(("onnx",), "int8").metric == "" and plain.at(("onnx",), "int8").bars == bars
    assert "--max-drop" not in plain.command(Path("m.pt"), Setting("onnx", "int8", 1))


def test_a_metric_without_labels_or_a_bar_is_refused(tmp_path: Path) -> None:
    export = dlconv.ExportOptions(("onnx",), tmp_path)
    for wish, said in (
        (dlconv.Wish(metric="top5", max_drop=0.01), "a metric needs labels"),
        (dlconv.Wish(metric="top5"), "--max-drop"),
        (dlconv.Wish(metric="top9", max_drop=0.01), "no metric 'top9'"),
    ):
        with pytest.raises(RequestError) as told:
            TuneOptions(export, wish=wish)
        assert said in " ".join(told.value.problems)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_drops_more_of_a_metric_than_it_may_is_told_with_its_drop_and_not_timed(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric that float32 holds and int8 does not: how near the answers are to the source's."""
    (tmp_path / "nearness.py").write_text(
        "import numpy as np\ndef near(outputs, labels):\n"
        "    return 1 - 10 * float(np.abs(outputs['probabilities'] - labels).max())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    place = exported(digits, tmp_path / "source")
    answers = [answer["probabilities"] for answer in open_bundle(place).reference().answers.y32]
    np.savez(tmp_path / "labels.npz", probabilities=np.concatenate(answers))
    export = dlconv.ExportOptions(
        ("onnxruntime",), tmp_path / "out", samples=digits / "samples.npz", labels=tmp_path / "labels.npz"
    )
    wish = dlconv.Wish(max_drop=0.02, metric="nearness:near")
    options = TuneOptions(export, precisions=("int8",), threads=(1,), budget_s=3000.0, time_s=3.0, wish=wish)
    found = dlconv.tune(digits / "digits.onnx", options)
    base, lost = found.contenders
    assert base.word == "PASS" and base.drop is not None and abs(base.drop) < 1e-4 and found.winner == base
    assert lost.word == "FAIL" and lost.timing is None and "nearness:near" in " ".join(lost.reasons)
    assert lost.drop is not None and 0.02 < lost.drop < 1, lost.drop
    assert "--metric nearness:near --max-drop 2%" in base.command


def test_a_command_says_all_that_was_asked(tmp_path: Path) -> None:
    tensors, constants = parse_inputs(("x:N=1..8,3,8:float32", "t:scalar:int64", "sr=16000"))
    export = dlconv.ExportOptions(
        ("onnxruntime", "tflite"),
        tmp_path / "my out",
        inputs=tensors,
        constants=constants,
        draws=3,
        seed=7,
        opset=17,
        entry="serve",
        via="onnx",
        layout="nchw",
        provider="xnnpack",
        trust=True,
        bars=Bars(outputs={EVERY: OutputBars(0.05), "y": OutputBars(1e-3)}),
    )
    options = TuneOptions(export, calibration="c.npz", allow_random_calibration=True)
    words = shlex.split(options.command(Path("a model.pt"), Setting("onnxruntime", "int8", 2)))
    assert words[:5] == ["dlconv", "export", "a model.pt", "--to", "onnxruntime"]
    text = " ".join(words)
    for said in ("--precision int8", "--calibration c.npz", "--allow-random-calibration", "--provider xnnpack",
                 "--input sr=16000", "--draws 3", "--seed 7", "--opset 17", "--signature serve", "--via onnx",
                 "--keep-layout nchw", "--trust", "--max-error 0.05", "--max-error y=0.001", "my out"):  # fmt: skip
        assert said in text
    given = tuple(words[place + 1] for place, word in enumerate(words) if word == "--input")
    assert parse_inputs(given) == (tensors, constants)
    plain = options.command(Path("m.pt"), Setting("tflite", "fp32", 1))
    assert "--calibration" not in plain and "--provider" not in plain and "--precision" not in plain


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_fails_its_bar_is_told_and_never_on_the_front(digits: Path, tmp_path: Path) -> None:
    """A bar that float32 holds and no int8 can."""
    bars = Bars(outputs={EVERY: OutputBars(1e-5)})
    export = dlconv.ExportOptions(("onnxruntime",), tmp_path / "out", samples=digits / "samples.npz", bars=bars)
    options = TuneOptions(export, precisions=("int8-weights",), threads=(1,), budget_s=3000.0, time_s=3.0)
    found = dlconv.tune(digits / "digits.onnx", options)
    base, lost = found.contenders
    assert (base.word, lost.setting.precision) == ("PASS", "int8-weights")
    assert lost.word in ("FAIL", "ERROR") and lost.reasons and lost.timing is None
    assert lost not in found.front and found.winner in (base, None)
    assert "--max-error 1e-05" in lost.command
