"""Signatures of TorchScript archives: given, inferred, refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dlconv.convert.torchscript_guess import Guess
from dlconv.convert.torchscript_search import Search
from dlconv.convert.torchscript_signature import infer
from dlconv.convert.torchscript_trial import Trial
from dlconv.errors import SignatureError
from dlconv.model import Signature

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
nn = torch.nn


class Image(nn.Module):
    """Takes 1x28x28 images alone: the linear layer behind the convolution fixes the side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2)
        self.head = nn.Linear(4 * 13 * 13, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().flatten(1))


class OddImage(nn.Module):
    """A side of 72 is no usual one; it follows from the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 4, stride=4)
        self.head = nn.Linear(2 * 18 * 18, 3)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(picture).flatten(1))


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(37, 8)
        self.lstm = nn.LSTM(8, 6, batch_first=True)

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        y, (h, _) = self.lstm(self.embed(ids))
        return {"y": y, "h": h}


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 4), nn.Linear(7, 4)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        x, y = self.left(a), self.right(b)
        return x + y, (x, y)


class Counter(nn.Module):
    """Each answer depends on the calls before it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.zeros(1, 3))
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.memory.copy_(self.memory * 0.5 + self.linear(x))
        return self.memory + x


class Rated(nn.Module):
    """Its only length is 512, which no weight tells, but its own refusal does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(512))

    def forward(self, x: torch.Tensor, sr: int) -> torch.Tensor:
        if x.dim() != 2:
            raise ValueError("two axes are wanted")
        if sr != 16000:
            raise ValueError(f"the rate {sr} is not supported")
        if x.shape[1] != 513 - 1:
            raise ValueError(f"got {x.shape[1]} samples, 512 are supported")
        return (x * self.weight).sum(1)


def saved(module: Any, folder: Path, example: tuple[Any, ...] | None = None) -> str:
    path = str(folder / "model.pt")
    made = torch.jit.script(module) if example is None else torch.jit.trace(module, example, strict=False)
    made.save(path)
    return path


def told(found: dict[str, Any]) -> tuple[list[str], list[str]]:
    signature = Signature.from_dict(found["signature"])
    return [str(spec) for spec in signature.inputs], [str(spec) for spec in signature.outputs]


@pytest.mark.parametrize("traced", [False, True])
def test_image_of_usual_size(tmp_path: Path, traced: bool) -> None:
    example = (torch.randn(1, 1, 28, 28),) if traced else None
    found = infer(saved(Image().eval(), tmp_path, example))
    assert told(found) == (["x:1x1x28x28:float32"], ["output:1x10:float32"])
    assert found["flag"] == "--input x:1x1x28x28:float32"
    assert not found["training"] and found["deterministic"] and not found["stateful"]


def test_size_that_is_not_usual_is_solved_for(tmp_path: Path) -> None:
    found = infer(saved(OddImage().eval(), tmp_path))
    assert told(found)[0] == ["picture:1x3x72x72:float32"]


class Detector(nn.Module):
    """Goes through a list of pictures, each without a batch of its own, as torchvision's detectors do."""

    def forward(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for image in images:
            if image.dim() != 3 or int(image.shape[0]) != 3:
                raise ValueError("3d tensors of shape [C, H, W]")
            found.append(image.mean((1, 2)))
        return found


def test_a_list_of_any_length_is_supposed_to_hold_one(tmp_path: Path) -> None:
    found = infer(saved(Detector().eval(), tmp_path))
    assert told(found) == (["images.0:3x224x224:float32"], ["output_0:3:float32"])
    assert any("was supposed to hold one tensor; for two: --input images.0:SHAPE" in note for note in found["notes"])
    two = infer(
        saved(Detector().eval(), tmp_path),
        [{"name": f"images.{place}", "dtype": "float32", "shape": [3, 8, 8]} for place in (0, 1)],
    )
    assert told(two)[1] == ["output_0:3:float32", "output_1:3:float32"]


class Windows(nn.Module):
    """Cuts a picture into windows, whose number the trace has as a constant: only the traced side runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        side = int(y.shape[-1]) // 5
        return y.view(int(y.shape[0]), 4, side, 5, side, 5).mean((3, 5)) + torch.arange(float(side))


def test_the_shape_of_the_trace_is_taken(tmp_path: Path) -> None:
    found = infer(saved(Windows().eval(), tmp_path, (torch.randn(2, 3, 40, 40),)))
    assert told(found)[0] == ["x:2x3x40x40:float32"]
    assert any("read from the inputs that it was traced with" in note for note in found["notes"])


def test_a_trace_by_keywords_in_another_order_misleads_nobody(tmp_path: Path) -> None:
    keywords = {"b": torch.randn(1, 7), "a": torch.randn(1, 5)}
    path = str(tmp_path / "model.pt")
    torch.jit.trace(TwoInputs().eval(), example_kwarg_inputs=keywords, strict=False).save(path)
    assert told(infer(path))[0] == ["a:1x5:float32", "b:1x7:float32"]


def test_a_size_that_would_take_all_memory_is_not_tried() -> None:
    trial = Trial(None, [], stateful=False, seed=0)
    guess = Guess("float32", ("batch", 3, "side", "side"))
    found, outcome = Search(trial, [])._repair({"x": guess}, {"batch": 1, "side": 1 << 18}, {})
    assert found is None and trial.count == 0 and "not tried" in outcome.error


def test_integers_dict_outputs_and_bounds(tmp_path: Path) -> None:
    found = infer(saved(Text().eval(), tmp_path, (torch.ones(1, 5, dtype=torch.int64),)))
    inputs, outputs = told(found)
    assert inputs[0].endswith(":int64") and [name.partition(":")[0] for name in outputs] == ["y", "h"]
    assert found["bounds"] == {"ids": [0, 36]}


def test_two_inputs_and_nested_outputs(tmp_path: Path) -> None:
    found = infer(saved(TwoInputs().eval(), tmp_path))
    assert told(found) == (
        ["a:1x5:float32", "b:1x7:float32"],
        ["output_0:1x4:float32", "output_1.0:1x4:float32", "output_1.1:1x4:float32"],
    )


def test_scalar_and_a_length_that_only_the_refusal_names(tmp_path: Path) -> None:
    found = infer(saved(Rated(), tmp_path))
    assert told(found)[0] == ["x:1x512:float32"]
    assert found["signature"]["constants"] == [["sr", 16000]]
    assert "--input sr=16000" in found["flag"]


def test_state_is_seen(tmp_path: Path) -> None:
    found = infer(saved(Counter().eval(), tmp_path))
    assert found["stateful"] and found["state"] == ["memory"]


def test_training_mode_and_random_numbers_are_told(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(1, 6) + torch.randn(1)

    found = infer(saved(Noisy().train(), tmp_path))
    assert found["training"] and not found["deterministic"] and not found["stateful"]
    assert any("training mode" in note for note in found["notes"])


def test_free_sizes_are_named_in_the_outputs(tmp_path: Path) -> None:
    path = saved(Text().eval(), tmp_path)
    found = infer(path, [{"name": "ids", "dtype": "int64", "shape": ["batch", "time"]}])
    assert told(found)[1] == ["y:batchxtimex6:float32", "h:1xbatchx6:float32"]
    assert set(found["sizes"]) == {"batch", "time"} and all(len(set(two)) == 2 for two in found["sizes"].values())


def test_a_size_that_cannot_vary_is_refused(tmp_path: Path) -> None:
    class One(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(1, 6)

    with pytest.raises(SignatureError, match="cannot vary") as caught:
        infer(saved(One(), tmp_path), [{"name": "x", "dtype": "float32", "shape": ["batch", 6]}])
    assert "'batch'" in caught.value.met and "1" in caught.value.mend


def test_samples_give_the_shape(tmp_path: Path) -> None:
    found = infer(
        saved(TwoInputs().eval(), tmp_path),
        samples={"a": {"dtype": "float32", "shape": [3, 5]}, "b": {"dtype": "float32", "shape": [3, 7]}},
    )
    assert told(found)[1][0] == "output_0:3x4:float32"


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "y", "dtype": "float32", "shape": [1, 1, 28, 28]},
        {"name": "x", "dtype": "float32", "shape": [1, 28]},
        {"name": "x", "dtype": "int64", "shape": [1, 1, 28, 28]},
    ],
    ids=["name", "rank", "dtype"],
)
def test_a_wrong_input_is_refused_with_what_the_model_has(tmp_path: Path, spec: dict[str, Any]) -> None:
    path = saved(Image().eval(), tmp_path)
    with pytest.raises(SignatureError) as caught:
        infer(path, [spec])
    assert "x" in caught.value.wanted and "Tensor" in caught.value.wanted


def test_where_nothing_runs_it_is_told_what_was_tried(tmp_path: Path) -> None:
    class Never(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no input is right")

    with pytest.raises(SignatureError) as caught:
        infer(saved(torch.jit.script(Never()), tmp_path), seconds=5)
    assert any("no input is right" in line for line in caught.value.problems)


EXPECTED = {
    "silero-vad/silero_vad.jit": ["x:1x512:float32"],
    "rl_sar/b2_robot_lab_policy.pt": ["x:1x45:float32"],
    "rl_sar/b2w_robot_lab_policy.pt": ["x:1x57:float32"],
    "rl_sar/g1_robomimic_locomotion_policy_29dof.pt": ["x:1x96:float32"],
    "rl_sar/go2_himloco_himloco.pt": ["obs_history:1x270:float32"],
    "rl_sar/l4w4_legged_gym_policy_25kg_b.pt": ["obs_obshis:1x570:float32"],
    "rl_sar/tita_robot_lab_policy.pt": ["x:1x33:float32"],
    "unitree_rl_gym/g1_motion.pt": ["x:1x47:float32"],
}


@pytest.mark.shared
@pytest.mark.parametrize("name", EXPECTED)
def test_real_models_need_no_input_flag(shared_models: Path, name: str) -> None:
    found = infer(str(shared_models / name))
    assert told(found)[0] == EXPECTED[name]
    assert found["stateful"] == ("silero" in name or "g1_" in name)
