"""What stays in float32 of a TFLite file: nodes of the ONNX graph by the tensors that the file has of them."""

import pytest

from dlconv.convert.tflite_recipes import kept_tensors, recipe
from dlconv.errors import Unsupported
from dlconv.runtimes.tflite_flatbuffer import FlatGraph, FlatModel, FlatOperator, FlatTensor

pytestmark = pytest.mark.tflite


def model(*names: str) -> FlatModel:
    """A chain of operators, each of which makes a tensor of that name."""
    tensors = tuple(FlatTensor(name, "float32", (1, 4), (), (), 0, 0, 0, 0, False) for name in ("x", *names))
    operators = tuple(FlatOperator("ADD", (number,), (number + 1,)) for number in range(len(names)))
    graph = FlatGraph(tensors, (0,), (len(names),), operators)
    return FlatModel(3, "", (graph,), (), (), (0,))


def test_a_node_is_known_by_its_tensor_in_either_layout() -> None:
    assert kept_tensors(model("a", "b_nhwc"), ["m"], {"m": [["b"]]}) == ["b_nhwc"]


def test_one_that_was_joined_with_others_by_the_nearest_that_the_file_has() -> None:
    groups = [["gone"], ["too"], ["b"], ["c"]]
    assert kept_tensors(model("a", "b", "c"), ["m"], {"m": groups}) == ["b"]


def test_one_of_which_nothing_is_there_is_refused() -> None:
    with pytest.raises(Unsupported, match="no operator of 1 nodes of the keep-list: m"):
        kept_tensors(model("a"), ["m"], {"m": [["gone"], ["too"]]})


def test_islands_leave_sums_in_int8_and_what_a_normalisation_is_made_of_in_float32() -> None:
    sides = {"inputs": "float32", "outputs": "float32"}

    def spared(islands: bool) -> set[str]:
        found = recipe("static-int8", boundary=sides, islands=islands)
        return {each["operation"].value for each in found if each["algorithm_key"].value == "no_quantize"}

    assert spared(False) == {"SOFTMAX", "INPUT", "OUTPUT"}
    more = spared(True) - spared(False)
    assert {"SUB", "SQUARED_DIFFERENCE", "RSQRT", "SELECT_V2"} <= more
    assert not more & {"CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "ADD", "MUL", "RESHAPE"}
