"""A .pt2 file to TFLite by litert-torch, held to the contract of edges and to the program's own answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.candidate import RUNTIMES
from dlconv.convert.edges import GRAPH
from dlconv.model import Signature, TensorSpec
from dlconv.testing import check_converter

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.litert_torch, pytest.mark.torch, pytest.mark.tflite]
torch = pytest.importorskip("torch")
EDGE = next(edge for edge in GRAPH.edges if edge.name == "torch_export_to_tflite")


class Counts(torch.nn.Module):
    """Integers and a picture in, channels first; two outputs, of which one is integer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(11, 4)
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, ids: Any, image: Any) -> dict[str, Any]:
        y = self.conv(image).mean((2, 3)) + self.embed(ids).mean(1)
        return {"scores": y, "best": y.argmax(1)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    path: Path = tmp_path_factory.mktemp("torch") / "counts.pt2"
    example = (torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 3, 6, 7))
    torch.export.save(torch.export.export(Counts().eval(), example), str(path))
    return path


def test_names_dtypes_layout_and_answers(source: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    samples = [
        {
            "ids": random.integers(0, 11, (2, 5)),
            "image": random.standard_normal((2, 3, 6, 7)).astype(np.float32),
        }
        for _ in range(3)
    ]
    inputs = (TensorSpec("ids", "int64", (2, 5)), TensorSpec("image", "float32", ("batch", 3, 6, 7)))
    outputs = (TensorSpec("scores", "float32", ("batch", 4)), TensorSpec("best", "int64", ("batch",)))
    made = check_converter(EDGE, source, Signature(inputs, outputs), samples, RUNTIMES["tflite"])
    told = [(spec.name, spec.dtype, spec.shape) for spec in (*made.signature.inputs, *made.signature.outputs)]
    assert told == [
        ("ids", "int32", (2, 5)),
        ("image", "float32", (2, 3, 6, 7)),
        ("scores", "float32", (2, 4)),
        ("best", "int32", (2,)),
    ]
    assert made.notes == ("batch cannot stay free by this converter",)
