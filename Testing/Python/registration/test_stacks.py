"""Where whole stacks lie against the first one."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stack_case import GRID, blobs, image_of, rigid, thick_stack, voxels_off

from TriplaneGaussianReconLib.data.observations import Observations, SliceStack
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.errors import Cancelled, InputError, InputNote
from TriplaneGaussianReconLib.registration.stacks import register_stacks

pytestmark = pytest.mark.usefixtures("keep_thread_counts")

MOVED = rigid((4.0, -3.0, 5.0), (3.0, -2.0, 4.0))


@pytest.fixture(scope="module")
def crossing() -> list[SliceStack]:
    """Three stacks that cross; two of them moved, one brighter."""
    body = blobs()
    return [thick_stack(body, "k", noise=1.0), thick_stack(body, "j", MOVED, gain=1.2, bias=8.0, noise=1.0, seed=1),
            thick_stack(body, "i", np.linalg.inv(MOVED), noise=1.0, seed=2)]


def test_crossing_stacks_are_found_and_the_first_one_stays(crossing: list[SliceStack]) -> None:
    first, second, third = register_stacks(crossing)
    assert np.array_equal(first.matrix, np.eye(4)) and (first.gain, first.bias) == (1.0, 0.0)
    assert voxels_off(second, MOVED) < 0.15 and voxels_off(third, np.linalg.inv(MOVED)) < 0.15
    assert second.gain == pytest.approx(1.2, rel=0.03) and second.bias == pytest.approx(8.0, abs=2.0)
    assert third.gain == pytest.approx(1.0, rel=0.03)
    for motion in (second, third):
        assert np.allclose(motion.matrix[:3, :3] @ motion.matrix[:3, :3].T, np.eye(3), atol=1e-12)


def test_what_is_found_repeats_bit_for_bit(crossing: list[SliceStack]) -> None:
    once, again = (register_stacks(crossing[:2], seed=3)[1] for _ in range(2))
    assert np.array_equal(once.matrix, again.matrix) and (once.gain, once.bias) == (again.gain, again.bias)


@pytest.mark.parametrize("slices", [slice(None), slice(0, 8)], ids=["whole", "partial"])
def test_a_header_may_be_wrong(crossing: list[SliceStack], slices: slice) -> None:
    """By 40 mm, which is most of the body, and 15 degrees; also where a third of the slices is missing."""
    wrong = rigid((10.0, -8.0, 7.0), (25.0, -20.0, 24.0))
    stack = crossing[1]
    planes = stack.planes.subset(slices).transformed(wrong)
    _, found = register_stacks([crossing[0], replace(stack, planes=planes, pixels=stack.pixels[slices])])
    assert voxels_off(StackMotion(found.matrix @ wrong), MOVED) < 0.25


def test_pixels_of_no_weight_are_not_looked_at(crossing: list[SliceStack]) -> None:
    """What stands still in front of the body would hold it where the header says."""
    def half_hidden(stack: SliceStack) -> SliceStack:
        pixels, weights = stack.pixels.copy(), np.ones(stack.pixels.shape, np.float32)
        hidden = GRID.physical_to_index(stack.planes.points())[..., 0] < 10
        pixels[hidden], weights[hidden] = 500.0 * (stack.planes.points()[hidden][:, 2] % 9.0 < 4.0), 0.0
        return replace(stack, pixels=pixels, weights=weights)

    _, found = register_stacks([half_hidden(stack) for stack in crossing[:2]])
    assert voxels_off(found, MOVED) < 0.25


def test_contrast_may_be_inverted(crossing: list[SliceStack]) -> None:
    """Where it lies is found; that its grey values do not fit is told by a gain of about nothing."""
    stack = crossing[1]
    _, found = register_stacks([crossing[0], replace(stack, pixels=200.0 - stack.pixels)])
    assert voxels_off(found, MOVED) < 0.15 and 0.0 < found.gain < 0.01


@pytest.mark.parametrize("value", [-2000.0, 0.0])
@pytest.mark.parametrize("shape", ["circle", "turned"])
def test_a_margin_of_one_value_does_not_mislead(crossing: list[SliceStack], shape: str, value: float) -> None:
    """What a file does not mark as padding moves with the scanner and would hold the body where the header says."""
    inputs = []
    for stack in crossing[:2]:
        image = image_of(replace(stack, pixels=stack.pixels + 100.0))
        rows, columns = (np.indices(image.array.shape[1:]).T - 0.5 * np.subtract(image.array.shape[1:], 1)).T
        turned = [abs(0.94 * rows + 0.34 * columns), abs(0.94 * columns - 0.34 * rows)]
        across = np.hypot(rows, columns) if shape == "circle" else np.maximum(*turned)
        image.array[:, across > 19.0] = value
        inputs.append(StackInput(image))
    with pytest.warns(InputNote, match=f"hold no data .* or {value:g}"):
        observations = Observations.from_volumes(inputs)
    _, found = register_stacks(observations.stacks)
    assert voxels_off(found, MOVED) < 0.25 and found.gain == pytest.approx(1.2, rel=0.05)


def test_slices_may_lie_unevenly(crossing: list[SliceStack]) -> None:
    kept = [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]
    stack = crossing[1]
    _, found = register_stacks([crossing[0], replace(stack, planes=stack.planes.subset(np.array(kept)),
                                                     pixels=stack.pixels[kept])])
    assert voxels_off(found, MOVED) < 0.4


def test_it_stops_when_asked_to(crossing: list[SliceStack]) -> None:
    calls = []

    def tick(step: int, steps: int, loss: float | None = None, /) -> None:
        calls.append((step, steps))
        if step == 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        register_stacks(crossing, tick=tick)
    assert [step for step, _ in calls] == [1, 2] and calls[0][1] > 40


def test_a_lone_slice_is_refused(crossing: list[SliceStack]) -> None:
    lone = replace(crossing[1], planes=crossing[1].planes.subset(slice(0, 1)), pixels=crossing[1].pixels[:1])
    with pytest.raises(InputError, match="Volume 2 has one slice alone"):
        register_stacks([crossing[0], lone])


def test_a_stack_without_data_is_refused(crossing: list[SliceStack]) -> None:
    empty = replace(crossing[0], weights=np.zeros(crossing[0].pixels.shape, np.float32))
    with pytest.raises(InputError, match="No pixel of volume 1 holds data"):
        register_stacks([empty, crossing[1]])
