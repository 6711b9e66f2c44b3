"""Tensors of foreign models are paired where nothing else fits, and asked for where something else would."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.errors import RequestError
from dlconv.model import Signature, TensorSpec
from dlconv.validators.matching import Link, matched, parse_link
from dlconv.validators.pairing import to_artifact, to_source

IMAGE = TensorSpec("image", "float32", (1, 3, 8, 9))
SCORES = TensorSpec("scores", "float32", (1, 10))


def spec(name: str, *shape: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, shape)


def pairs(reference: Signature, candidate: Signature, *links: str, one_family: bool = False) -> dict[str, str]:
    """The candidate's name of each of the reference's tensors."""
    found, _ = matched(reference, candidate, [parse_link(link) for link in links], one_family=one_family)
    return {tensor.source_name: tensor.name for tensor in (*found.inputs, *found.outputs)}


def asked(reference: Signature, candidate: Signature, *links: str) -> list[str]:
    """The --map that are offered."""
    with pytest.raises(RequestError) as caught:
        matched(reference, candidate, [parse_link(link) for link in links])
    assert caught.value.exit_code == 2
    return caught.value.mend.splitlines()


class TestNames:
    def test_equal_names_belong_together_in_any_order(self) -> None:
        one = Signature((spec("a", 4), spec("b", 4)), (spec("y", 2), spec("z", 2)))
        other = Signature((spec("b", 4), spec("a", 4)), (spec("z", 2), spec("y", 2)))
        assert pairs(one, other) == {"a": "a", "b": "b", "y": "y", "z": "z"}

    def test_an_only_tensor_is_the_other_s_only_one(self) -> None:
        found, told = matched(
            Signature((IMAGE,), (SCORES,)), Signature((spec("x:0", 1, 3, 8, 9),), (spec("o", 1, 10),))
        )
        assert [tensor.source_name for tensor in (*found.inputs, *found.outputs)] == ["image", "scores"]
        assert told == (
            "input image of the reference is x:0 of the candidate: nothing else fits",
            "output scores of the reference is o of the candidate: nothing else fits",
        )

    def test_shapes_and_dtypes_that_leave_one_pairing_are_enough(self) -> None:
        one = Signature((spec("ids", "N", 6, dtype="int64"), spec("x", "N", 4)), (spec("y", "N", 2), spec("z", "N", 3)))
        other = Signature((spec("in0", 1, 4), spec("in1", 1, 6, dtype="int32")), (spec("o0", 1, 3), spec("o1", 1, 2)))
        assert pairs(one, other) == {"ids": "in1", "x": "in0", "y": "o1", "z": "o0"}

    def test_what_is_forced_by_others_is_found(self) -> None:
        """b can be either, but a can only be p: then b is q."""
        one = Signature((spec("x", 1),), (spec("a", 2, 3), spec("b", "N", 3)))
        other = Signature((spec("x", 1),), (spec("p", 2, 3), spec("q", 5, 3)))
        assert pairs(one, other) == {"x": "x", "a": "p", "b": "q"}

    def test_two_of_one_form_are_asked_for_with_every_choice(self) -> None:
        one = Signature((IMAGE,), (spec("boxes", 5, 4), spec("sizes", 5, 4)))
        other = Signature((IMAGE,), (spec("o0", 5, 4), spec("o1", 5, 4)))
        assert asked(one, other) == [
            "--map boxes=o0", "--map boxes=o1", "--map sizes=o0", "--map sizes=o1"
        ]  # fmt: skip
        assert pairs(one, other, "boxes=o1") == {"image": "image", "boxes": "o1", "sizes": "o0"}

    def test_one_equal_name_settles_the_other(self) -> None:
        one = Signature((IMAGE,), (spec("boxes", 5, 4), spec("sizes", 5, 4)))
        other = Signature((IMAGE,), (spec("o0", 5, 4), spec("sizes", 5, 4)))
        assert pairs(one, other)["boxes"] == "o0"

    def test_more_inputs_on_one_side_are_never_guessed(self) -> None:
        assert asked(Signature((IMAGE,)), Signature((IMAGE, spec("training", dtype="bool"))))
        assert asked(Signature((IMAGE, spec("scale", 1))), Signature((IMAGE,)))

    def test_more_outputs_keep_their_names_for_the_judge_to_see(self) -> None:
        one = Signature((IMAGE,), (spec("y", 5),))
        other = Signature((IMAGE,), (spec("y", 5), spec("more", 5)))
        assert pairs(one, other) == {"image": "image", "y": "y", "more": "more"}
        assert pairs(other, one) == {"image": "image", "y": "y"}

    def test_more_outputs_of_the_fitting_form_are_asked_for(self) -> None:
        one = Signature((IMAGE,), (spec("y", 5),))
        other = Signature((IMAGE,), (spec("o0", 5), spec("o1", 5)))
        assert asked(one, other) == ["--map y=o0", "--map y=o1"]

    def test_dtypes_that_no_runtime_interchanges_do_not_fit(self) -> None:
        for dtype in ("float64", "int32", "bool", "bfloat16", "string"):
            other = Signature((IMAGE,), (spec("o", 1, 10, dtype=dtype),))
            assert pairs(Signature((IMAGE,), (SCORES,)), other)["o"] == "o", dtype

    @given(st.permutations(range(4)), st.permutations(range(4)))
    def test_the_order_of_the_tensors_decides_nothing(self, first: list[int], second: list[int]) -> None:
        reference = [spec(f"y{i}", 2, i + 3) for i in range(4)]
        candidate = [spec(f"o{i}", 2, i + 3) for i in range(4)]
        one = Signature((IMAGE,), tuple(reference[i] for i in first))
        other = Signature((IMAGE,), tuple(candidate[i] for i in second))
        assert pairs(one, other) == {"image": "image", **{f"y{i}": f"o{i}" for i in range(4)}}

    @given(st.lists(st.integers(2, 4), min_size=1, max_size=4), st.lists(st.integers(2, 4), min_size=1, max_size=4))
    def test_a_pairing_is_made_only_where_it_is_the_only_one(self, ours: list[int], theirs: list[int]) -> None:
        one = Signature((IMAGE,), tuple(spec(f"y{i}", 2, size) for i, size in enumerate(ours)))
        other = Signature((IMAGE,), tuple(spec(f"o{i}", 2, size) for i, size in enumerate(theirs)))
        few, many = sorted([ours, theirs], key=len)
        perfect = [
            order for order in itertools.permutations(range(len(many)), len(few))
            if all(few[i] == many[place] for i, place in enumerate(order))
        ]  # fmt: skip
        try:
            found = pairs(one, other)
        except RequestError:
            assert len(perfect) != 1 or len(ours) != len(theirs)
            return
        made = {reference: candidate for reference, candidate in found.items() if reference != candidate}
        for reference, candidate in made.items():
            size = ours[int(reference[1:])]
            assert theirs[int(candidate[1:])] == size
            assert ours.count(size) == theirs.count(size) == 1, "there was another one of that form"


class TestLayouts:
    def test_an_image_of_unequal_sizes_can_only_be_turned(self) -> None:
        reference, candidate = Signature((IMAGE,)), Signature((spec("x", 1, 8, 9, 3),))
        (found,), _ = (lambda pair: (pair[0].inputs, pair[1]))(matched(reference, candidate))
        assert (found.source_name, found.permutation) == ("image", (0, 2, 3, 1))

    def test_a_cube_is_never_tried(self) -> None:
        reference = Signature((spec("image", 1, 8, 8, 8),))
        candidate = Signature((spec("image", 1, 8, 8, 8),))
        assert asked(reference, candidate) == [
            "--map image=image:same", "--map image=image:0,2,3,1", "--map image=image:0,3,1,2"
        ]  # fmt: skip
        (found,) = matched(reference, candidate, [parse_link("image=image:nhwc")])[0].inputs
        assert found.permutation == (0, 2, 3, 1)
        (found,) = matched(reference, candidate, [parse_link("image=image:same")])[0].inputs
        assert found.permutation == ()

    def test_two_models_of_one_family_keep_their_axes(self) -> None:
        cube = Signature((spec("image", 1, 8, 8, 8),))
        (found,) = matched(cube, cube, one_family=True)[0].inputs
        assert found.permutation == ()

    def test_one_channel_needs_no_choice(self) -> None:
        """1 x 1 x 8 x 8 and 1 x 8 x 8 x 1 hold the same elements in the same order."""
        (found,) = matched(Signature((spec("x", 1, 1, 8, 8),)), Signature((spec("x", 1, 8, 8, 1),)))[0].inputs
        assert found.permutation in ((0, 2, 3, 1),)
        (found,) = matched(Signature((spec("x", 1, 1, 8, 8),)), Signature((spec("x", 1, 1, 8, 8),)))[0].inputs
        assert found.permutation == ()

    def test_square_matrices_are_not_layouts(self) -> None:
        (found,) = matched(Signature((spec("x", 6, 6),)), Signature((spec("x", 6, 6),)))[0].inputs
        assert found.permutation == ()

    def test_shapes_that_no_layout_explains_are_refused(self) -> None:
        for shape in ((1, 9, 8, 3), (1, 3, 9, 8), (3, 1, 8, 9), (1, 3, 72), (1, 3, 8, 9, 1)):
            with pytest.raises(RequestError):
                matched(Signature((IMAGE,)), Signature((spec("image", *shape),)))

    @given(st.permutations(range(4)), st.integers(0, 9))
    def test_a_permutation_means_what_numpy_s_transposition_does(self, axes: list[int], seed: int) -> None:
        words = ",".join(map(str, axes))
        shape = (2, 3, 4, 5)
        turned = tuple(shape[axis] for axis in axes)
        reference = Signature((spec("x", *shape),), (spec("y", *shape),))
        candidate = Signature((spec("a", *turned),), (spec("b", *turned),))
        links = [parse_link(f"x=a:{words}"), parse_link(f"y=b:{words}")]
        found, _ = matched(reference, candidate, links)
        array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        given_to_it = to_artifact({"x": array}, found)["a"]
        assert np.array_equal(given_to_it, array.transpose(axes))
        assert np.array_equal(to_source({"b": given_to_it}, found)["y"], array)


class TestLinks:
    @pytest.mark.parametrize(
        ("text", "link"),
        [
            ("x=input", Link("x", "input")),
            ("x=input:nhwc", Link("x", "input", (0, 2, 3, 1))),
            ("x=serving_default_x:0", Link("x", "serving_default_x:0")),
            ("x=serving_default_x:0:NCHW", Link("x", "serving_default_x:0", (0, 3, 1, 2))),
            ("y=out:0,2,1", Link("y", "out", (0, 2, 1))),
            ("y=out:same", Link("y", "out", ())),
        ],
    )
    def test_what_a_map_says(self, text: str, link: Link) -> None:
        assert parse_link(text) == link
        assert parse_link(str(link)) == link

    @pytest.mark.parametrize("text", ["x", "=y", "x=", "x=y:0,0,1", "x=y:0,2", "x=y:a,b", ""])
    def test_what_says_nothing_is_refused(self, text: str) -> None:
        with pytest.raises(RequestError) as caught:
            parse_link(text)
        assert "REFERENCE=CANDIDATE" in caught.value.wanted

    def test_names_that_are_not_there_are_told_at_once(self) -> None:
        with pytest.raises(RequestError) as caught:
            pairs(Signature((IMAGE,), (SCORES,)), Signature((IMAGE,), (SCORES,)), "picture=image", "scores=logits")
        assert len(caught.value.problems) == 2

    def test_a_layout_that_does_not_fit_is_the_user_s_word(self) -> None:
        """It is taken as it is said: the artifact then refuses the sample, or its shape fails."""
        (found,) = matched(Signature((IMAGE,)), Signature((IMAGE,)), [parse_link("image=image:0,3,2,1")])[0].inputs
        assert found.permutation == (0, 3, 2, 1)

    def test_two_links_to_one_tensor_are_refused(self) -> None:
        one = Signature((IMAGE,), (spec("a", 5), spec("b", 5)))
        other = Signature((IMAGE,), (spec("o0", 5), spec("o1", 5)))
        with pytest.raises(RequestError, match="cannot be"):
            pairs(one, other, "a=o0", "b=o0")
        with pytest.raises(RequestError, match="cannot be"):
            pairs(one, other, "a=o0", "a=o1")

    def test_an_input_is_no_output(self) -> None:
        one = Signature((spec("x", 5),), (spec("y", 5),))
        other = Signature((spec("u", 5),), (spec("v", 5),))
        with pytest.raises(RequestError, match="cannot be"):
            pairs(one, other, "x=v")
