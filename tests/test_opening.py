from __future__ import annotations

import csv
import decimal
import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlconv import opening
from dlconv.errors import DlconvError, FormatError, RequestError
from dlconv.files import pickles
from dlconv.formats import Format
from dlconv.opening import identify, open_artifact, recognise
from dlconv.workers import tiny_models

MANIFEST_FORMATS = {
    "TorchScript": Format.TORCHSCRIPT,
    "ONNX": Format.ONNX,
    "TFLite": Format.TFLITE,
    "Keras HDF5": Format.KERAS_H5,
    "PyTorch state dict": Format.TORCH_STATE_DICT,
    "TF1 frozen GraphDef": Format.FROZEN_GRAPH,
    "SavedModel": Format.SAVED_MODEL,
}


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def onnx_with_data(folder: Path, location: str) -> Path:
    """A minimal ONNX file whose one weight lies in external data at `location`."""
    tensor = bytes([1 << 3, 4, 2 << 3, 1]) + message(8, b"w")
    tensor += message(13, message(1, b"location") + message(2, location.encode()))
    model = bytes([1 << 3, 8]) + message(7, message(5, tensor)) + message(8, bytes([2 << 3, 17]))
    path = folder / "model.onnx"
    path.write_bytes(model)
    return path


def zip_of(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.shared
def test_every_model_of_the_collection_is_recognised(shared_models: Path) -> None:
    wrong = []
    with (shared_models / "MANIFEST.tsv").open() as manifest:
        for row in csv.DictReader(manifest, delimiter="\t"):
            path = shared_models / row["path"]
            wanted = MANIFEST_FORMATS.get(row["format"], Format.UNKNOWN)
            if wanted is Format.SAVED_MODEL and path.name != "saved_model.pb":
                # A part of one: the directory is the model, its variables are a checkpoint.
                is_weights = path.parent.name == "variables"
                wanted = Format.TENSORFLOW_CHECKPOINT if is_weights else Format.UNKNOWN
            if recognise(path) is not wanted:
                wrong.append((row["path"], wanted, recognise(path)))
    assert wrong == []


@pytest.mark.shared
def test_a_saved_model_is_its_directory(shared_models: Path) -> None:
    folder = shared_models / "basic-pitch" / "nmp"
    for path in (folder, folder / "saved_model.pb"):
        found = identify(path)
        assert (found.format, found.path) == (Format.SAVED_MODEL, folder)
        assert folder / "variables" / "variables.index" in found.files


@pytest.fixture(scope="module")
def torch_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 2)).eval()
    states = model.state_dict()
    torch.save(states, folder / "states.pt")
    torch.save(states, folder / "states-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"model": states, "epoch": 3}, folder / "checkpoint.pt")
    torch.save({"a": torch.ones(2)}, folder / "tensors.pt")
    torch.save(model, folder / "module.pt")
    torch.save(model, folder / "module-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"model": model, "epoch": 3}, folder / "module-in-dict.pt", pickle_protocol=4)
    tiny_models.write_torchscript(str(folder / "script.onnx"))
    tiny_models.write_torch_export(str(folder / "program.bin"))
    return folder


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("states.pt", Format.TORCH_STATE_DICT),
        ("states-legacy.pt", Format.TORCH_STATE_DICT),
        ("checkpoint.pt", Format.TORCH_STATE_DICT),
        ("tensors.pt", Format.TORCH_STATE_DICT),
        ("module.pt", Format.TORCH_PICKLE),
        ("module-legacy.pt", Format.TORCH_PICKLE),
        ("module-in-dict.pt", Format.TORCH_PICKLE),
        ("script.onnx", Format.TORCHSCRIPT),
        ("program.bin", Format.TORCH_EXPORT),
    ],
)
def test_what_torch_saves_is_told_apart(torch_files: Path, name: str, wanted: Format) -> None:
    assert recognise(torch_files / name) is wanted


@pytest.mark.torch
def test_weights_without_a_model_are_refused_with_the_way_to_export_them(torch_files: Path) -> None:
    with pytest.raises(FormatError, match="is a state dict: weights without a model") as refused:
        open_artifact(torch_files / "states.pt")
    assert "torch.jit.trace" in refused.value.mend
    with pytest.raises(FormatError, match="training checkpoint"):
        open_artifact(torch_files / "checkpoint.pt")


@pytest.mark.torch
@pytest.mark.parametrize("name", ["module.pt", "module-legacy.pt"])
def test_a_pickled_module_is_refused_by_the_name_of_its_class(torch_files: Path, name: str) -> None:
    with pytest.raises(FormatError, match=r"pickled module \(torch.nn.modules.container.Sequential\)"):
        open_artifact(torch_files / name)


@pytest.mark.torch
def test_a_module_whose_package_exports_it_is_refused_with_that_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    tasks = types.ModuleType("ultralytics.nn.tasks")
    tasks.DetectionModel = type("DetectionModel", (torch.nn.Module,), {"__module__": tasks.__name__})  # type: ignore[attr-defined]
    for name in ("ultralytics", "ultralytics.nn", tasks.__name__):
        monkeypatch.setitem(sys.modules, name, tasks)
    torch.save({"epoch": -1, "model": tasks.DetectionModel()}, tmp_path / "yolo.pt")
    with pytest.raises(FormatError, match=r"pickled module \(ultralytics.nn.tasks.DetectionModel\)") as refused:
        open_artifact(tmp_path / "yolo.pt")
    assert "yolo export model=FILE.pt format=torchscript" in refused.value.mend


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nothing_is_unpickled(tmp_path: Path, protocol: int) -> None:
    trapped = {"epoch": 1, "states": OrderedDict(w=Trap(tmp_path / "sprung"))}
    bare = tmp_path / "bare.pt"
    bare.write_bytes(pickle.dumps(trapped, protocol))
    zipped = zip_of(tmp_path / "zipped.pt", **{"model/data.pkl": pickle.dumps(trapped, protocol)})
    for path in (bare, zipped):
        with pytest.raises(FormatError, match="pickled"):
            open_artifact(path)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(bare.read_bytes())
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_the_class_of_a_pickled_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Path("x"), 4))
    found = identify(path)
    assert found.format is Format.TORCH_PICKLE
    assert "pathlib" in found.title


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), Format.TFLITE),
        (b"\x1c\x00\x00\x00ORTM" + bytes(64), Format.ORT),
        (b"GGUF\x03\x00\x00\x00", Format.GGUF),
        (b"ftrt" + bytes(64), Format.TENSORRT),
        (b"\x89HDF\r\n\x1a\n" + bytes(64) + b"model_config" + bytes(8), Format.KERAS_H5),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), Format.UNKNOWN),
        (b'<?xml version="1.0"?>\n<!-- made -->\n<net name="x" version="11">', Format.OPENVINO),
        (b"<netting></netting>", Format.UNKNOWN),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00" + b'{"w": {}}       ' + bytes(8), Format.SAFETENSORS),
        (b"\x1f\x8b\x08\x00" + bytes(30), Format.UNKNOWN),
        (b"hello, world\n" * 9, Format.UNKNOWN),
        (b'{"nodes": []}', Format.UNKNOWN),
    ],
)
def test_kinds_by_their_first_bytes(tmp_path: Path, content: bytes, wanted: Format) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert recognise(path) is wanted


@pytest.mark.parametrize(
    "content",
    [
        bytes([8, 1]) + message(2, message(1, b"in")) + bytes([0xC2, 0x3E, 1, 0]),  # fields 1, 2 and 1000
        message(1, message(1, b"name") + message(2, b"op")) + message(9, b"x"),
        message(1, message(1, b"name")) * 3,
        bytes([8, 1, 16, 1]) + message(7, b"abc"),
        bytes([8, 1, 7 << 3 | 2, 90]) + b"abc",
    ],
    ids=["foreign", "field 9", "no operator", "a tensor", "a cut-off tensor"],
)
def test_other_messages_are_no_models(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pb"
    path.write_bytes(content)
    assert recognise(path) is Format.UNKNOWN


def test_a_frozen_graph(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(message(1, message(1, b"name") + message(2, b"Placeholder")) * 2 + message(4, bytes([8, 27])))
    assert recognise(path) is Format.FROZEN_GRAPH


@pytest.mark.parametrize("protocol", [2, 4])
def test_classes_are_named_that_share_a_module(protocol: int) -> None:
    held = [decimal.Decimal, decimal.Context, decimal.Decimal]
    found = pickles.look(io.BytesIO(pickle.dumps(held, protocol)))
    assert found.classes == ("decimal.Decimal", "decimal.Context")


def test_a_keras_archive(tmp_path: Path) -> None:
    members = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b""}
    assert recognise(zip_of(tmp_path / "m.zip", **members)) is Format.KERAS


def test_a_lite_runtime_package_is_no_program(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "m.pt2", **{"m/archive_format": b"pt2", "m/data/aotinductor/model/x.so": b""})
    assert recognise(path) is Format.UNKNOWN
    assert "AOTInductor" in identify(path).title


@pytest.fixture
def tiny_onnx(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    tiny_models.write_onnx(str(path))
    return path


def test_an_onnx_of_any_name(tiny_onnx: Path) -> None:
    renamed = tiny_onnx.rename(tiny_onnx.with_suffix(".pth"))
    artifact = open_artifact(renamed)
    assert (artifact.format, artifact.path) == (Format.ONNX, renamed)
    assert artifact.digest == opening.digest_of(renamed)


def test_a_truncated_onnx_is_told_from_other_files(tiny_onnx: Path) -> None:
    whole = tiny_onnx.read_bytes()
    tiny_onnx.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="truncated ONNX model: 90 bytes"):
        recognise(tiny_onnx)


def test_a_truncated_archive_says_its_size(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "m.pt", **{"m/constants.pkl": bytes(300)})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match="is a truncated archive: 200 bytes") as refused:
        recognise(path)
    assert refused.value.mend


@pytest.mark.parametrize("name", ["../evil", "m/../../evil", "/evil", "C:/evil"])
def test_an_archive_with_members_outside_of_it_is_refused(tmp_path: Path, name: str) -> None:
    path = zip_of(tmp_path / "m.pt", **{"m/constants.pkl": b"", name: b""})
    with pytest.raises(FormatError, match="outside") as refused:
        recognise(path)
    assert name in refused.value.problems


def test_external_data_beside_the_model_is_part_of_it(tmp_path: Path) -> None:
    path = onnx_with_data(tmp_path, "weights/w.bin")
    data = tmp_path / "weights" / "w.bin"
    data.parent.mkdir()
    data.write_bytes(bytes(16))
    found = identify(path)
    assert found.files == (path, data)
    before = open_artifact(path).digest
    data.write_bytes(b"\1" + bytes(15) + b"\0")
    assert open_artifact(path).digest != before


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", ""])
def test_external_data_outside_of_the_directory_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(16))
    with pytest.raises(FormatError, match="outside of its directory"):
        identify(onnx_with_data(folder, location))


def test_external_data_behind_a_link_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(16))
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(FormatError, match="outside of its directory"):
        identify(onnx_with_data(folder, "w.bin"))


def test_external_data_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not here") as refused:
        identify(onnx_with_data(tmp_path, "w.bin"))
    assert "w.bin" in refused.value.wanted


def test_an_onnx_nested_deeper_than_the_stack_is_walked(tmp_path: Path) -> None:
    def long(number: int, content: bytes) -> bytes:
        size, varint = len(content), bytearray()
        while size > 0x7F:
            varint.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([number << 3 | 2, *varint, size]) + content

    graph = b""
    for _ in range(2000):
        graph = long(1, long(5, long(6, graph)))
    path = tmp_path / "deep.onnx"
    path.write_bytes(bytes([1 << 3, 8]) + long(7, graph) + long(8, bytes([2 << 3, 17])))
    assert recognise(path) is Format.ONNX


def test_a_directory_with_one_model_is_that_model(tmp_path: Path, tiny_onnx: Path) -> None:
    (tmp_path / "dlconv.json").write_text("{}")
    (tmp_path / "empty.txt").write_bytes(b"")
    assert identify(tmp_path).path == tiny_onnx


def test_a_directory_with_two_models_names_them(tmp_path: Path, tiny_onnx: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(tiny_onnx.read_bytes())
    with pytest.raises(RequestError, match="2 models") as refused:
        identify(tmp_path)
    assert refused.value.problems == ("other.onnx is an ONNX model", "tiny.onnx is an ONNX model")


def test_an_ir_is_its_two_files(tmp_path: Path) -> None:
    xml, weights = tmp_path / "m.xml", tmp_path / "m.bin"
    xml.write_bytes(b"<net></net>")
    weights.write_bytes(b"hello")
    assert identify(tmp_path).files == (xml, weights)


def test_nothing_there_and_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(RequestError, match="there is no file") as refused:
        open_artifact(tmp_path / "model.pt")
    assert "model.onnx" in refused.value.mend
    with pytest.raises(FormatError, match="is empty: 0 bytes"):
        open_artifact(tmp_path / "model.onnx")
    with pytest.raises(RequestError, match="there is no file"):
        open_artifact(tmp_path / "nowhere" / "model.pt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file(tiny_onnx: Path) -> None:
    tiny_onnx.chmod(0)
    with pytest.raises(RequestError, match="cannot be read: Permission denied"):
        open_artifact(tiny_onnx)


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert recognise(tmp_path / "pipe") is Format.UNKNOWN


def test_known_formats_that_are_no_source_are_told_so(tmp_path: Path) -> None:
    path = tmp_path / "m.ort"
    path.write_bytes(b"\x1c\x00\x00\x00ORTM" + bytes(64))
    with pytest.raises(FormatError, match="is an ONNX Runtime") as refused:
        open_artifact(path)
    assert "TorchScript" in refused.value.wanted
    assert refused.value.exit_code == 2


def test_the_same_content_is_digested_once(tiny_onnx: Path) -> None:
    before = opening._digest.cache_info()
    assert open_artifact(tiny_onnx) == open_artifact(tiny_onnx)
    after = opening._digest.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)


def test_every_format_has_its_words() -> None:
    for kind in Format:
        assert kind.label
        assert str(kind) == f"{kind}" == kind.value
    strangers = {
        "torch-state-dict",
        "torch-pickle",
        "keras-weights",
        "tensorflow-checkpoint",
        "safetensors",
        "gguf",
        "ort",
        "openvino",
        "tensorrt",
        "unknown",
    }
    assert {kind.value for kind in Format if not kind.is_source} == strangers


def _seeds() -> list[bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("m/data.pkl", pickle.dumps({"a": [1, "b"]}, 4))
    legacy = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}, {"w": 1}))
    return [archive.getvalue(), legacy, pickle.dumps(OrderedDict(a=Path("x")), 5), message(7, b"abc")]


@given(seed=st.sampled_from(_seeds()), cut=st.integers(0, 400), at=st.integers(0, 400), put=st.binary(max_size=8))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_gets_past_as_anything_but_one_of_our_errors(
    tmp_path: Path, seed: bytes, cut: int, at: int, put: bytes
) -> None:
    path = tmp_path / "x"
    path.write_bytes((seed[:at] + put + seed[at + len(put) :])[: cut or None])
    try:
        identify(path)
    except DlconvError as error:
        assert error.met
