"""The motion of a stack against a volume that is known well."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stack_case import GRID, blobs, rigid, thick_stack, voxels_off

from TriplaneGaussianReconLib.data.slice_profile import SliceProfile
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.registration.refinement import refine_motion

pytestmark = pytest.mark.usefixtures("keep_thread_counts")

MOVED = rigid((3.0, -2.0, 4.0), (1.0, -2.0, 1.5))
NEAR = StackMotion(rigid((1.5, -1.0, 2.5), (0.0, -1.0, 0.5)))


@pytest.mark.parametrize("profile", ["box", "gaussian"])
def test_the_truth_leads_to_hundredths_of_a_voxel(profile: SliceProfile) -> None:
    stack = thick_stack(blobs(), "j", MOVED, gain=0.8, bias=-5.0, profile=profile)
    found = refine_motion(stack, blobs(), GRID, NEAR)
    assert voxels_off(NEAR, MOVED) > 1.0
    assert voxels_off(found, MOVED) < 0.02
    assert (found.gain, found.bias) == (1.0, 0.0)


def test_noise_and_damaged_slices_cost_little() -> None:
    stack = thick_stack(blobs(), "i", MOVED, noise=2.0)
    pixels = stack.pixels.copy()
    pixels[4] = 300.0
    found = refine_motion(replace(stack, pixels=pixels), blobs(), GRID, NEAR)
    assert voxels_off(found, MOVED) < 0.05


def test_a_few_pixels_may_be_far_out_of_range() -> None:
    stack = thick_stack(blobs(), "i", MOVED, noise=2.0)
    pixels = stack.pixels.copy()
    pixels[2:8, 20, 20] = 1e6
    assert voxels_off(refine_motion(replace(stack, pixels=pixels), blobs(), GRID, NEAR), MOVED) < 0.05


def test_slices_may_lie_unevenly() -> None:
    stack, kept = thick_stack(blobs(), "j", MOVED), [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]
    uneven = replace(stack, planes=stack.planes.subset(np.array(kept)), pixels=stack.pixels[kept])
    assert voxels_off(refine_motion(uneven, blobs(), GRID, NEAR), MOVED) < 0.05


def test_a_wrong_profile_shifts_nothing() -> None:
    """Box or Gaussian, a profile is symmetrical."""
    stack = replace(thick_stack(blobs(), "k", MOVED, profile="gaussian"), profile="box")
    assert voxels_off(refine_motion(stack, blobs(), GRID, NEAR), MOVED) < 0.05


def test_what_is_found_repeats_bit_for_bit() -> None:
    stack = thick_stack(blobs(), "j", MOVED, noise=1.0)
    once, again = (refine_motion(stack, blobs(), GRID, NEAR, seed=1) for _ in range(2))
    assert np.array_equal(once.matrix, again.matrix) and (once.gain, once.bias) == (again.gain, again.bias)


def test_a_stack_outside_of_the_volume_stays() -> None:
    away = StackMotion(rigid((0.0, 0.0, 0.0), (500.0, 0.0, 0.0)))
    assert refine_motion(thick_stack(blobs(), "j"), blobs(), GRID, away) is away


def test_a_stack_of_no_weight_stays() -> None:
    stack = thick_stack(blobs(), "j")
    stack = replace(stack, weights=np.zeros(stack.pixels.shape, np.float32))
    assert refine_motion(stack, blobs(), GRID, NEAR) is NEAR
