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
from dlconv.reports.html.graph_svg import picture_svg
from dlconv.reports.html.pictures import Link, Node, Picture, as_dot, as_mermaid, of_plan, of_routes

RECORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "records.py"))
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
    texts = [(each.text or "") for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for node in picture.nodes:
        assert node.lines[0] in texts
    from dlconv.reports.html.graph_svg import _layout, _size

    layout = _layout(picture)
    boxes = [(layout.place(node.key), _size(node)) for node in picture.nodes]
    for index, ((x, y), (width, height)) in enumerate(boxes):
        assert x - width / 2 >= 0 and x + width / 2 <= layout.size[0]
        assert y - height / 2 >= 0 and y + height / 2 <= layout.size[1]
        for (x1, y1), (width1, height1) in boxes[index + 1 :]:
            assert abs(x - x1) >= (width + width1) / 2 or abs(y - y1) >= (height + height1) / 2
