from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dlconv.asked.options import ExportOptions
from dlconv.formats import Format
from dlconv.planning import Lack, Plan, TargetPlan, make
from dlconv.reports.html.graph_svg import laid_out, picture_svg
from dlconv.reports.html.pictures import Link, Node, Picture, as_dot, as_mermaid, of_plan, of_routes

RECORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "records.py"))
TEXT = "{http://www.w3.org/2000/svg}text"
TARGETS = ("onnx", "onnxruntime", "openvino", "tflite", "saved-model")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make(Format.TORCHSCRIPT, ExportOptions(TARGETS, Path()))


def lacking(plan: Plan, toolchain: str) -> Plan:
    """The plan of a machine without a toolchain."""
    lack = Lack(toolchain, "converting", "is not installed", "dlconv toolchain install it")

    def without(goal: TargetPlan) -> TargetPlan:
        routes = tuple(
            replace(way, lacks=(lack,) if toolchain in way.route.toolchains else way.lacks) for way in goal.routes
        )
        return replace(goal, routes=routes)

    return Plan(plan.source, tuple(map(without, plan.targets)))


def test_a_plan_shows_every_stage_and_every_link_once(plan: Plan) -> None:
    picture = of_plan(plan)
    edges = {edge for goal in plan.targets for way in goal.routes for edge in way.route.edges}
    assert {node.key for node in picture.nodes} == {stage for edge in edges for stage in (edge.source, edge.target)}
    assert {(link.source, link.target) for link in picture.links} == {(edge.source, edge.target) for edge in edges}
    assert len(picture.links) == len({(link.source, link.target) for link in picture.links})


def test_what_is_missing_is_told(plan: Plan) -> None:
    there = {(link.source, link.target): link for link in of_plan(plan).links}
    gone = {(link.source, link.target): link for link in of_plan(lacking(plan, "onnx2tf")).links}
    edge = ("onnx", "tflite")
    assert gone[edge].kind == "missing" and "lacks onnx2tf" in gone[edge].lines
    assert there[edge].kind == "taken" or "lacks onnx2tf" in there[edge].lines  # whatever this machine has
    neither = lacking(lacking(plan, "onnx2tf"), "litert-torch")
    (node,) = [node for node in of_plan(neither).nodes if node.key == "tflite"]
    assert node.kind == "missing" and "out of reach" in node.lines


def test_routes_are_a_tree_with_time_memory_and_share() -> None:
    picture = of_routes(RECORDS["receipt"]())
    assert picture is not None
    assert [link.kind for link in picture.links].count("failed") == 2, "the first step is shared with the route taken"
    labels = {node.lines for node in picture.nodes}
    assert ("onnx", "0.5 s, 300.0 MB") in labels
    assert ("onnx", "2.0 s, 300.0 MB", "100% of the error") in labels
    assert ("openvino", "3.0 s, 300.0 MB", "0% of the error", "failed") in labels
    assert of_routes({}) is None


HOSTILE = Picture(
    "a", "b", (Node("x", ('q"uo\\te\n<b>#&]',)), Node("y", ("end",))), (Link("x", "y", ('"|]; z --> w',)),)
)


ROUTES = {
    "torchscript": (Format.TORCHSCRIPT, (*TARGETS, "tensorrt")),
    "one": (Format.ONNX, ("openvino",)),
    "keras": (Format.KERAS, ("onnx", "tflite", "openvino", "tensorrt")),
    "frozen": (Format.FROZEN_GRAPH, ("onnx", "tflite", "openvino")),
}


@pytest.mark.parametrize("name", ROUTES)
def test_a_drawn_plan_fits_a_readme_and_half_a_sheet(name: str) -> None:
    source, targets = ROUTES[name]
    picture = of_plan(make(source, ExportOptions(targets, Path())))
    drawn = ElementTree.fromstring(picture_svg(picture, "p"))
    width, height = (float(drawn.attrib[side]) for side in ("width", "height"))
    assert width <= 480, "of the 800 of a README, letters of 12"
    assert height <= 1000, "A4 at 96 dots an inch, without its margins"
    assert name == "one" or width < height
    scale = width / float(drawn.attrib["viewBox"].split()[2])
    letters = [float(found) for found in re.findall(r"font-size: ([\d.]+)px", picture_svg(picture, "p"))]
    assert letters and min(letters) * scale >= 11.9


def test_every_way_to_a_stage_is_named_in_it(plan: Plan) -> None:
    picture = of_plan(lacking(plan, "litert-torch"))
    texts = [(each.text or "").strip() for each in ElementTree.fromstring(picture_svg(picture, "p")).iter(TEXT)]
    told = " ".join(texts)
    for link in picture.links:
        for line in link.lines:
            assert line in told, line
    assert not [text for text in texts if "…" in text]
    assert {"taken first", "other ways", "missing here"} <= set(texts), "what a line's look means is told"


def test_dot_is_quoted() -> None:
    text = as_dot(HOSTILE)
    assert r'n0 [label="q\"uo\\te <b>#&]"' in text
    assert text.count("->") == 2 and "n0 -> n1" in text
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert "-->" not in outside and "<b>" not in outside


def test_mermaid_is_quoted() -> None:
    text = as_mermaid(HOSTILE)
    assert 'n0["q#34;uo\\te #60;b#62;#35;#38;]"]' in text
    assert re.search(r'^  n0 -->\|"[^"]*"\| n1$', text, re.MULTILINE)


def test_every_node_is_drawn_apart_from_every_other(plan: Plan) -> None:
    picture = of_plan(plan)
    drawn = ElementTree.fromstring(picture_svg(picture, "p"))
    texts = [(each.text or "") for each in drawn.iter(TEXT)]
    for node in picture.nodes:
        assert any(text.split(", ")[0] == node.lines[0] for text in texts)
    boxes = list(laid_out(picture).values())
    width, height = (float(each) for each in drawn.attrib["viewBox"].split()[2:])
    for index, box in enumerate(boxes):
        assert box.x >= 0 and 72 * (box.x + box.width) <= width
        assert box.y >= 0 and 72 * (box.y + box.height) <= height
        assert all(box.y + box.height < below.y for below in boxes[index + 1 :])


def test_labels_of_mermaid_and_dot_leave_out_what_both_ends_say(plan: Plan) -> None:
    for text in (as_mermaid(of_plan(plan)), as_dot(of_plan(plan))):
        assert "onnx_to_onnx" not in text and "onnx_to_openvino" not in text
        assert "[onnxsim]" in text
    assert "flowchart TD" in as_mermaid(of_plan(plan)) and "rankdir" not in as_dot(of_plan(plan))
