"""Several thick stacks of one body, from what they saw to the result."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, shift
from scipy.spatial.transform import Rotation

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.stages import STACK_STAGES
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.errors import Cancelled, InputError, InputNote, TooLargeError
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction
from TriplaneGaussianReconLib.pipeline.stacks import reconstruct_stacks
from TriplaneGaussianReconLib.rendering.planes import draw
from TriplaneGaussianReconLib.runtime.memory_limits import held_memory
from TriplaneGaussianReconLib.runtime.progress import Progress

SIDE, FACTOR = 36, 3
GRID = Grid((SIDE, SIDE, SIDE), origin=(5.0, -4.0, 3.0))
FAST = PRESETS["fast"]
PRESET = replace(FAST, stacks=replace(FAST.stacks, final=(3, 8), examples=1, restoration=replace(
    FAST.stacks.restoration, width=8, steps=12)))


def body() -> np.ndarray:
    """Smooth lumps inside a ball, [k, j, i], from 0 to about 1000."""
    random = np.random.default_rng(0)
    lumps = gaussian_filter(random.standard_normal(GRID.shape), 1.5)
    k, j, i = np.indices(GRID.shape) - 0.5 * (SIDE - 1)
    ball = 1.0 / (1.0 + np.exp((np.sqrt(k ** 2 + 1.2 * j ** 2 + 0.9 * i ** 2) - 13.0) * 1.5))
    return (ball * (500.0 + 250.0 * lumps / np.abs(lumps).max())).astype(np.float32)


BODY = body()


def moved(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) LPS mm, degrees about the middle of the grid and mm."""
    middle = GRID.index_to_physical([0.5 * (SIDE - 1)] * 3)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    matrix[:3, 3] = middle + np.array(shift) - matrix[:3, :3] @ middle
    return matrix


def stack(axis: Axis, motion: np.ndarray | None = None, noise: float = 0.0, gain: float = 1.0,
          volume: np.ndarray = BODY) -> Image:
    """What thick slices along `axis` see of a body that moved; motion: from where they think it is to where it is."""
    number, spacing, origin = AXES.index(axis), [1.0, 1.0, 1.0], list(GRID.origin)
    spacing[number], origin[number] = float(FACTOR), origin[number] + 0.5 * (FACTOR - 1)
    shape = list(GRID.shape)
    shape[array_axis(axis)] //= FACTOR
    grid = Grid((shape[0], shape[1], shape[2]), (origin[0], origin[1], origin[2]), (spacing[0], spacing[1], spacing[2]))
    seen = np.zeros(grid.shape, np.float32)
    corner = np.moveaxis(np.indices(grid.shape)[::-1], 0, -1).astype(float)
    for offset in np.arange(FACTOR) - 0.5 * (FACTOR - 1):
        at = corner.copy()
        at[..., number] += offset / FACTOR
        points = grid.index_to_physical(at)
        if motion is not None:
            points = points @ motion[:3, :3].T + motion[:3, 3]
        seen += map_coordinates(volume, np.moveaxis(GRID.physical_to_index(points)[..., ::-1], -1, 0), order=1,
                                mode="nearest").astype(np.float32) / FACTOR
    random = np.random.default_rng(array_axis(axis))
    return Image((gain * seen + noise * random.standard_normal(grid.shape)).astype(np.float32), grid)


def solved(inputs: list[StackInput], **options: object) -> Reconstruction:
    return reconstruct_stacks(Observations.from_volumes(inputs), options.pop("grid", GRID),  # type: ignore[arg-type]
                              **{"preset": PRESET, "device": "cpu", "motion": "none", **options})  # type: ignore[arg-type]


def inputs(*axes: Axis, **options: float) -> list[StackInput]:
    return [StackInput(stack(axis, **options), profile="box") for axis in axes]  # type: ignore[arg-type]


def psnr(result: Reconstruction) -> float:
    error = np.mean((result.volume.array - BODY) ** 2)
    return float(10.0 * np.log10(np.ptp(BODY) ** 2 / error))


def test_three_stacks_show_more_than_two_and_two_more_than_one() -> None:
    one, two, three = (psnr(solved(inputs(*axes))) for axes in (["k"], ["k", "j"], ["k", "j", "i"]))
    assert three > two + 2.0 and two > one + 2.0 and three > 38.0


def test_the_model_seen_through_the_profiles_reproduces_the_stacks_to_their_noise() -> None:
    result = solved(inputs("k", "j", "i", noise=15.0))
    for residual in result.report.residuals:
        assert residual.mean_absolute < 15.0 * 0.8  # the mean of the absolute value of such noise
    hidden = result.report.provenance.hidden_pixels
    assert hidden is not None and 15.0 < hidden.error < 30.0 and hidden.share == PRESET.stacks.hidden
    assert hidden.trust in PRESET.stacks.trusts and hidden.smoothness >= PRESET.stacks.smoothness.least
    assert result.report.self_check.note == hidden.found
    assert result.model.provenance["hidden_pixels"]["note"] == hidden.choice


def test_motion_gain_and_bias_are_found() -> None:
    motion = moved((2.0, -1.5, 2.5), (1.0, -0.8, 0.6))
    other = StackInput(stack("j", motion, noise=5.0, gain=1.1), profile="box")
    result = solved([*inputs("k", noise=5.0), other], motion="stack")
    points = GRID.index_to_physical(GRID.corners * 0.5 + 0.25 * SIDE)
    found = result.motions[1]
    apart = points @ (found.matrix - motion)[:3, :3].T + (found.matrix - motion)[:3, 3]
    assert np.linalg.norm(apart, axis=1).mean() < 0.15 and found.gain == pytest.approx(1.1, rel=0.02)
    assert (result.motions[0].matrix == np.eye(4)).all() and result.motions[0].gain == 1.0
    still = solved([*inputs("k", noise=5.0), other])
    assert psnr(result) > psnr(still) + 3.0


def test_a_gain_and_bias_that_are_known_are_taken() -> None:
    other, known = stack("j", gain=1.3), StackMotion(gain=1.3, bias=200.0)
    other.array.__iadd__(np.float32(200.0))
    right = psnr(solved([*inputs("k"), StackInput(other, profile="box", to_first=known)]))
    wrong = psnr(solved([*inputs("k"), StackInput(other, profile="box")]))
    assert right == pytest.approx(psnr(solved(inputs("k", "j"))), abs=0.1) and right > wrong + 10.0


def test_voxels_about_all_follow_where_the_volumes_are_found_to_lie() -> None:
    """The header of the other one is off by 40 mm, more than the body is wide."""
    right, other = inputs("k", "j", noise=5.0)
    wrong = replace(other, image=replace(other.image, grid=replace(
        other.image.grid, origin=tuple(np.add(other.image.grid.origin, (40.0, 0.0, 0.0))))))
    with pytest.warns(InputNote, match="Volume 2 lies 4 mm away"):
        result = solved([right, wrong], grid=1.0, motion="stack")
    assert result.volume.grid.spacing == (1.0, 1.0, 1.0)
    assert max(result.volume.grid.shape) <= SIDE + 3 and min(result.volume.grid.shape) >= SIDE
    assert solved([right, other], grid=1.0).volume.grid.matches(GRID)


def test_a_volume_that_does_not_show_the_body_is_told() -> None:
    other = stack("j")
    noise = Image(np.random.default_rng(0).normal(0.0, 100.0, other.grid.shape).astype(np.float32), other.grid)
    with pytest.warns(RuntimeWarning, match="Volume 2 hardly fits"):
        result = solved([*inputs("k"), StackInput(noise, profile="box")], motion="stack")
    assert "Volume 2 hardly fits the first" in result.report.notes[0]


def test_labels_come_from_any_of_the_stacks() -> None:
    truth = (BODY > 400).astype(np.float32)
    given = []
    for axis, labelled in (("k", False), ("j", True), ("i", True)):
        image, mask = stack(axis), stack(axis, volume=truth)  # type: ignore[arg-type]
        layers = (mask.array > 0.5).astype(np.uint8)
        labels = Segmentation.from_labelmap(layers * 3, mask.grid) if labelled else None
        given.append(StackInput(image, profile="box", segmentation=labels))
    result = solved(given)
    assert result.segmentation is not None and set(np.unique(result.segmentation.layers)) == {0, 3}
    found, wanted = result.segmentation.layers[0] == 3, truth > 0
    assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.95


def test_what_no_stack_saw_is_told_and_holds_the_background() -> None:
    wide = Grid((SIDE, SIDE, SIDE + 20), GRID.origin)
    result = solved(inputs("k", "j"), grid=wide)
    beyond = result.confidence.array[..., SIDE + 4:]
    assert (beyond == pytest.approx(np.ptp([s.pixels for s in Observations.from_volumes(inputs("k")).stacks][0]),
                                    rel=0.2)) and beyond.min() > 10 * np.median(result.confidence.array[..., :SIDE])
    assert np.abs(result.volume.array[..., SIDE + 4:]).max() < 5.0


@pytest.mark.parametrize("axes", ["k", "kj", "kji"])
def test_thin_slices_with_wide_gaps_leave_no_stripes(axes: str) -> None:
    """Slices of 0.5 mm, 3 mm apart: voxels that no slice sees are filled, and their expected error tells of it."""
    given = []
    for axis in axes:
        grid = stack(axis).grid  # type: ignore[arg-type]
        index = np.moveaxis(np.indices(grid.shape)[::-1], 0, -1)
        at = GRID.physical_to_index(grid.index_to_physical(index))
        array = map_coordinates(BODY, np.moveaxis(at[..., ::-1], -1, 0), order=1).astype(np.float32)
        given.append(StackInput(Image(array, grid), profile="box", thickness=0.5))
    result = solved(given)
    errors = np.abs(result.volume.array - BODY)[6:-6, 6:-6, 6:-6]
    assert psnr(result) > 31.0 + 4.0 * len(axes) and errors.max() < 0.2 * np.ptp(BODY)
    assert 0.8 < result.confidence.array[6:-6, 6:-6, 6:-6].mean() / errors.mean() < 3.0  # rather too large


@pytest.mark.parametrize("axes", ["k", "kji"])
def test_expected_errors_are_of_the_size_of_errors(axes: str) -> None:
    result = solved(inputs(*axes, noise=20.0))  # type: ignore[arg-type]
    errors = np.abs(result.volume.array - BODY)
    assert 0.6 < result.confidence.array.mean() / errors.mean() < 1.6
    assert not result.report.notes


def test_slices_that_moved_singly_are_told() -> None:
    """Each by up to 2 mm along its rows and columns."""
    shaken = []
    for each in inputs("k", "j", "i", noise=20.0):
        along, slices = array_axis(each.slice_axis), []
        for number, pixels in enumerate(np.moveaxis(each.image.array, along, 0)):
            slices.append(shift(pixels, np.random.default_rng(number).uniform(-2.0, 2.0, 2), order=1, mode="nearest"))
        shaken.append(replace(each, image=replace(each.image, array=np.stack(slices, along))))
    with pytest.warns(RuntimeWarning, match="Slices may have moved singly"):
        result = solved(shaken)
    hidden = result.report.provenance.hidden_pixels
    assert hidden is not None and hidden.times_expected > 1.3 and result.report.notes == hidden.doubts


def test_only_what_holds_data_is_solved_for_and_drawn() -> None:
    """Voxels about all stacks are about their pixels with data."""
    masked = []
    for each in inputs("k", "j"):
        array = each.image.array.copy()
        array[..., :10] = np.nan
        masked.append(replace(each, image=replace(each.image, array=array)))
    with pytest.warns(InputNote, match="hold no data"):
        result = solved(masked, grid=1.0)
    assert result.volume.grid.size == (SIDE - 10, SIDE, SIDE)
    assert result.volume.grid.origin == pytest.approx((GRID.origin[0] + 10.0, *GRID.origin[1:]))
    assert np.abs(result.volume.array - BODY[..., 10:]).mean() < 0.05 * np.ptp(BODY)


def test_pixels_without_data_weigh_nothing() -> None:
    damaged = stack("j")
    damaged.array[2:6, 4:6, 3:9] = np.nan
    clean = psnr(solved(inputs("k", "j", "i")))
    holes = psnr(solved([*inputs("k"), StackInput(damaged, profile="box"), *inputs("i")]))
    assert clean - 3.0 < holes < clean + 0.2  # 0.3 % of the pixels


def test_an_oblique_result_and_coarser_voxels_lie_right() -> None:
    turned = moved((10.0, 20.0, -15.0), (0.0, 0.0, 0.0))
    oblique = Grid((12, 20, 16), tuple(GRID.index_to_physical([10, 9, 12])), (1.3, 0.9, 1.1),
                   tuple(map(tuple, turned[:3, :3])))
    result = solved(inputs("k", "j", "i"), grid=oblique)
    index = np.moveaxis(np.indices(oblique.shape)[::-1], 0, -1)
    at = GRID.physical_to_index(oblique.index_to_physical(index))
    truth = map_coordinates(BODY, np.moveaxis(at[..., ::-1], -1, 0), order=3)
    assert np.abs(result.volume.array - truth).mean() < 0.03 * np.ptp(BODY)


def test_the_model_draws_what_the_volume_shows() -> None:
    result = solved(inputs("k", "j", "i"))
    drawn = draw(result.model, GRID.planes("i", [10, 20]), "cpu")
    np.testing.assert_allclose(drawn.image, np.moveaxis(result.volume.array, 2, 0)[[10, 20]], atol=0.5)
    assert result.model.provenance["trusted_slices"] == 3 * SIDE // FACTOR


def test_it_repeats_bit_by_bit_whatever_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(solved(inputs("k", "j", noise=10.0), motion="stack").volume.array)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(*results)


def test_it_tells_how_far_it_is() -> None:
    told = list[Progress]()
    solved(inputs("k", "j"), progress=told.append)
    assert {each.stage for each in told} == {"stacks", "rendering"} and told[-1].done == pytest.approx(1.0)
    assert [each.done for each in told] == sorted(each.done for each in told)


@pytest.mark.parametrize("stage", [stage.name for stage in STACK_STAGES])
def test_stop_takes_effect_at_once_in_every_stage(stage: str) -> None:
    told = list[Progress]()
    with pytest.raises(Cancelled):
        solved(inputs("k", "j"), motion="stack", progress=told.append,
               should_stop=lambda: bool(told) and told[-1].stage == stage)
    assert [each.stage for each in told].count(stage) <= 2 and told[-1].stage == stage


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="from 0 on, not -1"):
        solved(inputs("k"), seed=-1)


def test_an_unknown_kind_of_motion_is_refused() -> None:
    with pytest.raises(InputError, match="stack or none"):
        solved(inputs("k", "j"), motion="slice")


def test_more_than_memory_holds_is_refused_before_the_work() -> None:
    with pytest.raises(TooLargeError, match="larger voxels"):
        solved(inputs("k", "j"), limit=held_memory() + 1_000_000)


def test_inputs_are_not_changed() -> None:
    given = inputs("k", "j")
    before = [each.image.array.copy() for each in given]
    solved(given, motion="stack")
    for each, array in zip(given, before, strict=True):
        np.testing.assert_array_equal(each.image.array, array)
