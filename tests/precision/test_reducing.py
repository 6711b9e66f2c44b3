"""A search whose list is too noisy on other grids than the calibration's goes on."""

from pathlib import Path

import pytest

import dlconv
from dlconv.candidate import WIDEST_NOISE
from dlconv.events import Event
from dlconv.precision import reducing

pytestmark = [pytest.mark.onnx, pytest.mark.openvino]
DIGITS = Path(__file__).parents[2] / "models" / "digits"


class Heard:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on(self, event: Event) -> None:
        self.notes.append(event.text)


def test_more_stays_until_what_is_built_for_holds_on_every_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reducing, "GRIDS", (1.0, 24.0))  # so coarse that with nothing kept nothing would be built
    heard = Heard()
    options = dlconv.ExportOptions(
        ("openvino",), tmp_path, samples=DIGITS / "samples.npz", precision="int8", search=True, use_cache=False
    )
    (outcome,) = dlconv.export(DIGITS / "digits.onnx", options, heard).outcomes
    assert any("on other grids" in note for note in heard.notes), heard.notes
    assert outcome.error is None and outcome.body["reduction"]["keep"]
    assert outcome.body["reduction"]["noise"]["outputs"][0]["error"] <= WIDEST_NOISE
