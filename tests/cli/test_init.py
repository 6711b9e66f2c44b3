from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dlconv.asked.options import TARGETS
from dlconv.cli.main import run
from dlconv.errors import FormatError, RequestError
from dlconv.formats import Format
from dlconv.inspection import Inspection
from dlconv.model import Signature, TensorSpec
from dlconv.project import draft as project_draft
from dlconv.project import file as project
from dlconv.project.keys import KEYS

pytestmark = pytest.mark.onnx

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present directory, with an ONNX model, its samples and its labels in it."""
    for name in ("digits.onnx", "samples.npz", "labels.npz"):
        shutil.copy(digits / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def uncommented(text: str, *, only: int | None = None) -> str:
    """The text with its commented keys made real: all, or one with the table that it stands in."""
    lines, head, number = text.splitlines(), -1, -1
    for index, line in enumerate(lines):
        if line.startswith("["):
            head = -1
        elif line.startswith("#["):
            head = index
            lines[index] = line if only is not None else line[1:]
        elif re.match(r"#[a-z]", line):
            number += 1
            if only in (None, number):
                lines[index] = line[1:]
                if only is not None and head >= 0:
                    lines[head] = lines[head][1:]
    return "\n".join(lines)


def read(text: str, folder: Path) -> project.ProjectModel:
    path = folder / "tried" / "dlconv.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (model,) = project.read(path).models
    return model


def test_a_project_file_is_written_for_the_model_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: dlconv verify"
    (model,) = project.read(project.find(folder)).models
    assert (model.name, model.path) == ("digits", folder / "digits.onnx")
    assert (model.samples, model.labels) == (folder / "samples.npz", folder / "labels.npz")
    assert model.targets and set(model.targets) <= set(TARGETS)
    text = (folder / "dlconv.toml").read_text()
    assert "# An ONNX model: image to probabilities." in text
    assert '#inputs = ["image:batchx1x8x8:float32"]' in text


def test_every_key_is_shown_and_right_when_uncommented(folder: Path) -> None:
    text = project_draft.draft(folder / "digits.onnx", folder).text
    whole = uncommented(text)
    assert not re.search(r"^#[^ ]", whole, re.MULTILINE)
    model = read(whole, folder)
    assert set(KEYS) == set(re.findall(r"^(\w+) =", whole, re.MULTILINE)) & set(KEYS) | {"bars", "target_bars"}
    assert all(value is not None for bars in model.bars.outputs.values() for value in vars(bars).values())
    assert all(value is not None for value in vars(model.bars.latency).values())
    assert model.bars.factor == 40.0 and model.bars_of(model.targets[-1]).factor == 80.0
    assert [str(spec) for spec in model.inputs] == ["image:batchx1x8x8:float32"]
    plain, shown = read(text, folder), len(re.findall(r"^#[a-z]", text, re.MULTILINE))
    assert shown > 15
    defaults = {"output", "precisions", "draws", "seed"}  # shown with the value that they have anyway
    for number in range(shown):
        single = uncommented(text, only=number)
        (key,) = set(re.findall(r"^#(\w+)", text, re.MULTILINE)[number : number + 1])
        assert (read(single, folder) != plain) == (key not in defaults), key


def test_nothing_is_written_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "dlconv.toml").write_text("mine")
    assert run(["init", "digits.onnx"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "dlconv.toml").read_text() == "mine"
    assert run(["init", "digits.onnx", "-o", "pyproject.toml", "--force"]) == 2
    assert run(["init", "digits.onnx", "--force", "--json", "answer.json"]) == 0
    assert project.read(folder / "dlconv.toml").models[0].name == "digits"
    answer = json.loads((folder / "answer.json").read_text())
    assert (answer["schema"], answer["path"], answer["model"]) == ("dlconv.init/1", "dlconv.toml", "digits")


def test_paths_start_from_the_file(folder: Path) -> None:
    (folder / "a").mkdir()
    assert run(["init", "digits.onnx", "-o", "a/dlconv.toml"]) == 0
    (model,) = project.read(folder / "a" / "dlconv.toml").models
    assert 'path = "../digits.onnx"' in (folder / "a" / "dlconv.toml").read_text()
    assert model.path.resolve() == folder / "digits.onnx"


def test_the_sole_model_of_a_folder(folder: Path) -> None:
    assert project_draft.sole_model(folder).name == "digits.onnx"
    shutil.copy(folder / "digits.onnx", folder / "b.onnx")
    with pytest.raises(RequestError, match=r"there are 2 models here: b\.onnx, digits\.onnx"):
        project_draft.sole_model(folder)
    (folder / "empty").mkdir()
    with pytest.raises(RequestError, match="there is no model"):
        project_draft.sole_model(folder / "empty")


def test_what_is_no_source_is_refused(folder: Path) -> None:
    with pytest.raises(FormatError):
        project_draft.draft(folder / "samples.npz", folder)
    with pytest.raises(RequestError, match="there is no file"):
        project_draft.draft(folder / "none.onnx", folder)


def test_samples_are_found_by_their_usual_names_and_never_set_when_damaged(folder: Path) -> None:
    (folder / "samples.npz").unlink()
    shown = project_draft.draft(folder / "digits.onnx", folder)
    assert '\n#samples = "samples.npz"\n' in shown.text and any("no samples" in note for note in shown.notes)
    (folder / "digits.npz").write_bytes(b"no npz")
    damaged = project_draft.draft(folder / "digits.onnx", folder)
    assert '\n#samples = "digits.npz"\n' in damaged.text and any("digits.npz" in note for note in damaged.notes)
    np.savez(folder / "digits.npz", image=np.zeros((2, 1, 8, 8), np.float32))
    assert '\nsamples = "digits.npz"\n' in project_draft.draft(folder / "digits.onnx", folder).text


UGLY = 'a "b"\\c.v2\x7f'


def test_names_are_written_as_toml_has_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(folder / "digits.onnx", folder / f"{UGLY}.onnx")

    def look(path: Path) -> Inspection:
        inputs = (
            TensorSpec("x\ny\0", "int64", ()),
            TensorSpec("ids", "int64", ("max_px", "N")),
            TensorSpec("q", "", None),
        )
        signature = Signature(inputs, (TensorSpec('o"\n', "float32", (1,)),))
        return Inspection(path, Format.ONNX, "an ONNX model", "", (path,), 1, "sha256:0", signature)

    monkeypatch.setattr(project_draft, "inspect", look)
    made = project_draft.draft(folder / f"{UGLY}.onnx", folder)
    model = read(uncommented(made.text), folder)
    assert model.name == UGLY.replace("\\", "-") and model.path.name == f"{UGLY}.onnx"
    assert [str(spec) for spec in model.inputs] == ["x\ny\0::int64", "ids:max_pxxN:int64"]
    assert list(model.bars.outputs) == ['o"\n']
    with pytest.raises(RequestError, match="no Unicode"):
        project_draft._string("a\udcff")


def test_targets_that_this_machine_lacks_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlconv import planning
    from dlconv.workers import toolchains

    located = toolchains.locate

    def lacking(toolchain: toolchains.Toolchain) -> toolchains.Located | toolchains.Missing:
        if toolchain.name == "openvino":
            return toolchains.Missing("openvino", ("openvino is not installed",), "pip install 'dlconv[openvino]'")
        return located(toolchain)

    monkeypatch.setattr(planning.toolchains, "locate", lacking)
    made = project_draft.draft(folder / "digits.onnx", folder)
    assert "openvino" not in made.targets
    assert (
        "# openvino cannot be made on this machine, which lacks openvino: pip install 'dlconv[openvino]'\n" in made.text
    )
    read(uncommented(made.text), folder)


@pytest.mark.torch
def test_an_archive_without_a_signature_is_drafted_by_its_samples(digits: Path, folder: Path) -> None:
    shutil.copy(digits / "digits.pt", folder)
    made = project_draft.draft(folder / "digits.pt", folder)
    assert '#inputs = ["image:Nx1x8x8:float32"]' in made.text
    read(uncommented(made.text), folder)


def test_every_sample_model_has_a_project_file() -> None:
    folders = [path for path in sorted((ROOT / "models").iterdir()) if path.is_dir()]
    assert folders
    for path in folders:
        for model in project.read(path / "dlconv.toml").models:
            files = [model.path, model.samples, model.labels]
            assert all(file.is_file() for file in files if file is not None)
