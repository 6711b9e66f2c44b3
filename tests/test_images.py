"""Pictures as calibration samples: the preprocessing that is said, and the files that are refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv import images
from dlconv.asked.preprocess import parse
from dlconv.errors import RequestError, SamplesError
from dlconv.model import Signature, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

image = pytest.importorskip("PIL.Image")
SAID = "channels=rgb scale=1/255 layout=nchw"
NCHW = Signature((TensorSpec("x", "float32", ("N", 3, 4, 6)),))


def picture(path: Path, pixels: Any, **words: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(np.asarray(pixels, np.uint8)).save(path, **words)


@pytest.fixture
def pixels() -> Any:
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3))


def test_values_order_and_layout(tmp_path: Path, pixels: Any) -> None:
    picture(tmp_path / "b.png", pixels)
    picture(tmp_path / "a" / "z.png", pixels[::-1])
    picture(tmp_path / ".hidden.png", pixels)
    how = parse(SAID + " mean=0.5,0.4,0.3 std=0.1,0.2,0.4")
    first, second = images.read(tmp_path, how, NCHW)
    wanted = (pixels / 255 - [0.5, 0.4, 0.3]) / [0.1, 0.2, 0.4]
    assert first["x"].dtype == np.float32 and first["x"].shape == (1, 3, 4, 6)
    np.testing.assert_allclose(second["x"][0], wanted.transpose(2, 0, 1), rtol=1e-6)
    np.testing.assert_allclose(first["x"][0], wanted[::-1].transpose(2, 0, 1), rtol=1e-6)
    (turned, _) = images.read(tmp_path, parse("channels=bgr scale=1 layout=nhwc"), Signature((
        TensorSpec("x", "uint8", (1, 4, 6, 3)),)))  # fmt: skip
    assert turned["x"].dtype == np.uint8
    np.testing.assert_array_equal(turned["x"][0], pixels[::-1, :, ::-1])


def test_sizes(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(0, 200, 10)[:, None], (20, 40))
    picture(tmp_path / "ramp.png", ramp)
    grey = Signature((TensorSpec("x", "float32", (1, "H", "W")),))
    (whole,) = images.read(tmp_path, parse("channels=grey scale=1 layout=nchw crop=10x8"), grey)
    assert whole["x"].shape == (1, 10, 8)  # the middle
    np.testing.assert_array_equal(whole["x"][0, :, 0], ramp[5:15, 0])
    (half,) = images.read(tmp_path, parse("channels=grey scale=1 layout=nchw resize=10 filter=box"), grey)
    assert half["x"].shape == (1, 10, 20)  # the shorter side
    np.testing.assert_array_equal(half["x"][0, :, 0], ramp[::2, 0] + 5)
    (given,) = images.read(tmp_path, parse("channels=grey scale=1 layout=nchw resize=7x9"), grey)
    assert given["x"].shape == (1, 7, 9)


def test_exif_is_obeyed(tmp_path: Path, pixels: Any) -> None:
    turned = image.fromarray(np.asarray(pixels, np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "a.png", exif=exif)
    (sample,) = images.read(tmp_path, parse("channels=rgb scale=1 layout=nchw"), NCHW)
    np.testing.assert_array_equal(sample["x"][0], pixels[::-1, ::-1].transpose(2, 0, 1))


def test_wrong_files_are_named_together(tmp_path: Path, pixels: Any) -> None:
    picture(tmp_path / "good.png", pixels)
    picture(tmp_path / "small.png", pixels[:2])
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    clear = np.concatenate([pixels, np.full((4, 6, 1), 128)], axis=2)
    picture(tmp_path / "clear.png", clear)
    frames = [image.fromarray(np.full((4, 6), value, np.uint8)) for value in (0, 255)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    image.fromarray(np.full((4, 6), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(SamplesError) as met:
        images.read(tmp_path, parse(SAID), NCHW)
    told = dict(line.split(": ", 1) for line in met.value.problems)
    assert set(told) == {"small.png", "notes.txt", "cut.png", "clear.png", "film.gif", "deep.png"}
    assert "2x6" in told["small.png"] and "2 frames" in told["film.gif"] and "transparency" in told["clear.png"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scale=1 layout=nchw", "channels= is left out"),
        ("channels=rgb layout=nchw", "scale= is left out"),
        ("channels=rgb scale=1", "layout= is left out"),
        (SAID + " colour=red", "'colour=red'"),
        (SAID + " resize=0", "resize=0"),
        (SAID + " mean=1,2", "mean has 2 values"),
        (SAID + " std=0", "divides by zero"),
        (SAID + " scale=2", "said twice"),
        ("channels=cmyk scale=1 layout=nchw", "rgb, bgr, grey"),
    ],
)
def test_nothing_is_guessed(text: str, told: str) -> None:
    with pytest.raises(RequestError) as met:
        parse(text)
    assert any(told in problem for problem in met.value.problems), met.value.problems


def test_what_is_said_is_told_again() -> None:
    text = "channels=bgr resize=256 filter=bicubic crop=224x224 scale=1/255 mean=0.5 std=0.25 layout=nhwc input=image"
    assert str(parse(text)) == text and parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("specs", "text"),
    [
        ((TensorSpec("x", "int64", (1, 3, 4, 6)),), SAID),
        ((TensorSpec("x", "uint8", (1, 3, 4, 6)),), SAID),
        ((TensorSpec("x", "float32", (1, 3, 4, 6)), TensorSpec("y", "float32", (1,))), SAID),
        ((TensorSpec("x", "float32", (1, 3, 4, 6)),), SAID + " input=z"),
    ],
)
def test_inputs_that_take_no_pictures(tmp_path: Path, pixels: Any, specs: tuple[TensorSpec, ...], text: str) -> None:
    picture(tmp_path / "a.png", pixels)
    with pytest.raises(RequestError):
        images.read(tmp_path, parse(text), Signature(specs))
