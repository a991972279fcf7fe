"""The pipeline: observations in, dense volume, labels, confidence and model out."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numba
import numpy as np
import pytest
import torch
from rendered_grid import draw_grid
from scipy.ndimage import map_coordinates

from TriplaneGaussianReconLib.config.presets import PRESETS, Preset, preset_named
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import BackendUnavailableError, Cancelled, InputError
from TriplaneGaussianReconLib.pipeline.reconstruction import STAGES, Progress, Reconstruction, reconstruct
from TriplaneGaussianReconLib.pipeline.report import Provenance, Report
from TriplaneGaussianReconLib.rendering.volume import expected_error_on_grid

SHAPE = (13, 28, 30)
FAST = PRESETS["fast"]
PAPER = replace(PRESETS["paper-displaced"], training=replace(PRESETS["paper-displaced"].training, steps=5))
BLIND = replace(PRESETS["paper"], name="blind", blind=replace(PRESETS["paper"].blind, size=10),
                training=replace(PRESETS["paper"].training, steps=5))
# Turned or mirrored, slices are read in another order, so a network trained for a few steps is another one; where two
# labels are as good as each other, the other one may win.
LEARNT_OTHERWISE = 3e-3
CHEAP = {"fast": FAST, "paper": PAPER, "blind": BLIND}
# Three labels, the last one in a layer of its own because it overlaps the others.
SEGMENTS = (Segment("low", 3, 0), Segment("high", 9, 0), Segment("band", 1, 1))

pytestmark = pytest.mark.usefixtures("keep_thread_counts")


@dataclass(frozen=True)
class Case:
    """A volume with labels of which only some slices are observed."""

    array: np.ndarray
    layers: np.ndarray
    grid: Grid
    observed: dict[Axis, Selection]
    labelled: dict[Axis, Selection] | None = None

    def observations(self, labels: bool = True) -> Observations:
        segmentation = Segmentation(self.layers, SEGMENTS, self.grid) if labels else None
        return Observations.from_volume(Image(self.array, self.grid), self.observed, segmentation,
                                        self.labelled if labels else None)

    @property
    def seen(self) -> np.ndarray:
        """[k, j, i] bool: on an observed slice."""
        result = np.zeros(self.grid.shape, bool)
        for axis, selection in self.observed.items():
            np.moveaxis(result, array_axis(axis), 0)[list(selection.indices)] = True
        return result

    def reconstructed(self, preset: str | Preset = "fast", labels: bool = True, **arguments: Any) -> Reconstruction:
        return reconstruct(self.observations(labels), self.grid, preset=preset, **arguments)


def labelled(volume: np.ndarray) -> np.ndarray:
    """[layer, k, j, i] labels that follow the structures of `volume` in [0, 1]."""
    layers = np.zeros((2, *volume.shape), np.uint8)
    layers[0][volume < 0.4], layers[0][volume > 0.62] = 3, 9
    layers[1][(volume > 0.5) & (volume < 0.75)] = 1
    return layers


@pytest.fixture(scope="module")
def truth(textured: Callable[..., np.ndarray]) -> np.ndarray:
    """A pattern in [0, 1] that moves obliquely."""
    return textured(SHAPE, (0.7, -0.5), seed=5)


@pytest.fixture(scope="module")
def case(truth: np.ndarray) -> Case:
    noise = np.random.default_rng(0).normal(0, 2.0, SHAPE)
    return Case((100.0 + 1000.0 * truth + noise).astype(np.float32), labelled(truth), Grid(SHAPE, spacing=(1, 1, 1)),
                {"k": Selection.every(13, 3)})


@pytest.fixture(scope="module")
def base(case: Case) -> Reconstruction:
    return case.reconstructed("fast")


def assert_same_bits(ours: Reconstruction, other: Reconstruction) -> None:
    """Everything that a reconstruction returns, timings excepted."""
    for a, b in ((ours.volume, other.volume), (ours.confidence, other.confidence)):
        assert a.array.dtype == b.array.dtype
        assert a.array.tobytes() == b.array.tobytes()
    assert (ours.segmentation is None) == (other.segmentation is None)
    if ours.segmentation is not None and other.segmentation is not None:
        assert ours.segmentation.layers.dtype == other.segmentation.layers.dtype
        np.testing.assert_array_equal(ours.segmentation.layers, other.segmentation.layers)
        assert ours.segmentation.segments == other.segmentation.segments
    for name, tensor in ours.model.parameters.tensors().items():
        assert torch.equal(tensor, getattr(other.model.parameters, name)), name
    for name in ("frame", "mode", "cutoff", "intensity", "segments"):
        assert np.array_equal(getattr(ours.model, name), getattr(other.model, name)), name
    for name in ("middle", "offsets", "origin", "step", "at_observed"):
        assert np.array_equal(getattr(ours.model.expected_error, name), getattr(other.model.expected_error, name)), name
    assert ours.model.provenance == other.model.provenance
    assert replace(ours.report, seconds={}) == replace(other.report, seconds={})


THREE_AXES: dict[Axis, Selection] = {"k": Selection.every(13, 4), "j": Selection.every(28, 9),
                                     "i": Selection.every(30, 7)}


@pytest.mark.parametrize(("preset", "axes"), [("fast", 1), ("fast", 3), ("paper", 1), ("blind", 3)])
def test_unobserved_slices_leave_no_trace(case: Case, preset: str, axes: int) -> None:
    """Noise, NaN and other labels on unobserved slices change no bit of any output."""
    clean = case if axes == 1 else replace(case, observed=THREE_AXES)
    generator = np.random.default_rng(7)
    array, layers = clean.array.copy(), clean.layers.copy()
    hidden = ~clean.seen
    assert 0.4 < hidden.mean() < 0.8
    array[hidden] = generator.normal(0, 1e6, hidden.sum())
    array[hidden & (generator.random(SHAPE) < 0.1)] = np.nan
    layers[:, hidden] = generator.integers(0, 200, (2, hidden.sum()))
    other = replace(clean, array=array, layers=layers)
    assert_same_bits(clean.reconstructed(CHEAP[preset]), other.reconstructed(CHEAP[preset]))


def test_noise_among_the_observed_slices_would_be_seen(case: Case, base: Reconstruction) -> None:
    """That the comparison of the tests above can fail at all."""
    array = case.array.copy()
    array[3, 14, 15] += 1.0
    with pytest.raises(AssertionError):
        assert_same_bits(base, replace(case, array=array).reconstructed())


@pytest.mark.parametrize("preset", CHEAP)
def test_the_volume_is_what_the_model_draws(case: Case, preset: str) -> None:
    """Nothing is blended or pasted in: drawing the model on the output grid gives every output to rounding."""
    array = np.rint(case.array).astype(np.int16)
    result = replace(case, array=array).reconstructed(CHEAP[preset])
    drawn = draw_grid(result.model, case.grid, "cpu")
    np.testing.assert_array_equal(result.volume.array, np.rint(drawn.image).astype(np.int16))
    assert result.segmentation is not None and drawn.layers is not None
    np.testing.assert_array_equal(result.segmentation.layers, drawn.layers)
    np.testing.assert_array_equal(result.confidence.array, expected_error_on_grid(result.model, case.grid))


def test_the_volume_is_what_the_model_draws_in_floats(case: Case, base: Reconstruction) -> None:
    drawn = draw_grid(base.model, case.grid, "cpu")
    assert base.volume.array.dtype == np.float32
    assert base.volume.array.tobytes() == drawn.image.tobytes()


@pytest.mark.parametrize("preset", CHEAP)
def test_the_same_seed_gives_the_same_bits(case: Case, preset: str) -> None:
    results = []
    for threads in (1, 2):
        torch.manual_seed(threads)  # what was drawn before does not matter
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        results.append(case.reconstructed(CHEAP[preset], seed=11))
    assert_same_bits(*results)


@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_a_large_offset_costs_no_grey_levels(case: Case, truth: np.ndarray, dtype: type) -> None:
    """Temperatures, phases and times lie far from zero: single precision is too coarse there."""
    step = 1 if dtype is np.int32 else 2.0 ** -10
    near = (np.round(truth * 1000) * step).astype(dtype)
    results = [replace(case, array=near + offset).reconstructed(CHEAP["fast"], labels=False).volume.array
               for offset in (dtype(0), dtype(2 ** 24))]
    assert results[1].dtype == dtype
    np.testing.assert_allclose(results[1] - dtype(2 ** 24), results[0], rtol=0, atol=1.001 * step)
    assert len(np.unique(results[1])) > 0.9 * len(np.unique(results[0].astype(np.float32)))


def test_another_seed_gives_other_bits(case: Case) -> None:
    results = [case.reconstructed(BLIND, labels=False, seed=seed) for seed in (1, 2)]
    assert not torch.equal(results[0].model.parameters.tilts, results[1].model.parameters.tilts)
    assert results[0].report.provenance.seed == 1


def psnr(image: np.ndarray, expected: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(expected) ** 2 / np.mean((image - expected) ** 2)))


def test_better_than_linear_where_structures_move(case: Case, base: Reconstruction) -> None:
    hidden = [n for n in range(13) if n % 3]
    linear = np.stack([(1 - n % 3 / 3) * case.array[n - n % 3] + n % 3 / 3 * case.array[n - n % 3 + 3] for n in hidden])
    assert psnr(base.volume.array[hidden], case.array[hidden]) > psnr(linear, case.array[hidden]) + 2
    assert psnr(base.volume.array[::3], case.array[::3]) > 45


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_integers_are_rounded_and_clipped_to_the_observed_range(truth: np.ndarray, dtype: type) -> None:
    """Sharp edges make any interpolation overshoot; the hidden slices hold larger values still."""
    sharp = np.where(truth > 0.5, 1.0, 0.0) + np.where(truth > 0.65, 0.5, 0.0)
    highest = 200 if dtype is np.uint8 else 30000
    array = np.rint(sharp / 1.5 * highest).astype(dtype)
    if dtype in (np.uint8, np.uint16):
        array = np.maximum(array, 7).astype(dtype)
    else:
        array -= np.asarray(500, dtype)
    observed = array[::3]
    array[1::3] = np.iinfo(dtype).max
    result = Case(array, np.zeros((1, *SHAPE), np.uint8), Grid(SHAPE), {"k": Selection.every(13, 3)}
                  ).reconstructed(labels=False)
    assert result.volume.array.dtype == dtype
    assert result.volume.array.min() >= observed.min() and result.volume.array.max() <= observed.max()
    drawn = draw_grid(result.model, Grid(SHAPE), "cpu").image
    assert np.abs(result.volume.array.astype(np.float64) - drawn).max() <= 0.5
    assert np.abs(drawn - np.rint(drawn)).max() > 0.1
    assert result.segmentation is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32])
def test_the_ends_of_an_integer_type_do_not_wrap_around(truth: np.ndarray, dtype: type) -> None:
    """The type's largest value is among the observed ones; nothing bright becomes dark by overflow."""
    largest = np.iinfo(dtype).max
    bright = truth > 0.6
    array = np.where(bright, largest, largest // 4).astype(dtype)
    result = Case(array, np.zeros((1, *SHAPE), np.uint8), Grid(SHAPE), {"k": Selection.every(13, 3)}
                  ).reconstructed(labels=False)
    observed = result.volume.array[::3].astype(np.float64)
    np.testing.assert_allclose(observed[bright[::3]], float(largest), atol=0.3 * largest)
    assert result.volume.array.min() >= largest // 5


def test_labels(case: Case) -> None:
    """Three labels in two overlapping layers: kept on observed slices, followed between them, without any learning."""
    base = case.reconstructed(replace(PRESETS["fast"], label_super_resolution=None))
    assert base.segmentation is not None
    layers = base.segmentation.layers
    assert base.segmentation.segments == SEGMENTS and base.segmentation.grid is case.grid
    assert layers.shape == case.layers.shape and np.issubdtype(layers.dtype, np.integer)
    assert (layers[:, ::3] == case.layers[:, ::3]).mean() > 0.99
    assert ((layers[0] > 0) & (layers[1] > 0)).any()
    nearest = np.array([3 * round(n / 3) for n in range(13)])
    for segment in SEGMENTS:
        ours, plain, expected = (a[segment.layer] == segment.value
                                 for a in (layers, case.layers[:, nearest], case.layers))
        wrong, wrong_plain = (float((m ^ expected)[1::3].mean()) for m in (ours, plain))
        assert wrong < 0.7 * wrong_plain, segment.name


def test_labels_do_not_change_the_image(case: Case, base: Reconstruction) -> None:
    without = case.reconstructed(labels=False)
    assert without.segmentation is None and without.model.segments == ()
    assert without.volume.array.tobytes() == base.volume.array.tobytes()


def test_label_values_of_any_kind_survive(case: Case) -> None:
    """Large and negative values, as label maps of signed types hold them."""
    labels = np.zeros(SHAPE, np.int32)
    labels[case.layers[0] == 3], labels[case.layers[0] == 9] = -5, 70000
    segmentation = Segmentation.from_labelmap(labels, case.grid)
    observations = Observations.from_volume(Image(case.array, case.grid), case.observed, segmentation)
    result = reconstruct(observations, case.grid)
    assert result.segmentation is not None
    assert (result.segmentation.layers[0, ::3] == labels[::3]).mean() > 0.98


def quickly_filled(preset: Preset) -> Preset:
    """The same, with few steps to fill labels on observed slices."""
    return replace(preset, label_completion=replace(preset.label_completion, steps=12))


def followed(case: Case, preset: Preset) -> list[Progress]:
    told: list[Progress] = []
    replace(case, labelled=SOME).reconstructed(quickly_filled(preset), progress=told.append)
    return told


# Stages that a preset does without.
LEFT_OUT = {"fast": {"fusion", "training"}, "paper": {"learning", "fusion", "labels"}}
OF_ONE_VOLUME = [name for name in STAGES if name not in ("motion", "stacks")]
SOME = {"k": Selection((0, 6, 12), 13)}  # of the observed slices


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_progress(case: Case, preset: str) -> None:
    told = followed(case, CHEAP[preset])
    expected = [stage for stage in OF_ONE_VOLUME if stage not in LEFT_OUT[preset]]
    names, done = [p.stage for p in told], [p.done for p in told]
    assert sorted(set(names), key=names.index) == expected
    assert names == sorted(names, key=expected.index)  # never back to an earlier stage
    assert done == sorted(done) and done[0] == 0.0 and done[-1] == pytest.approx(1.0)
    assert all(p.number == expected.index(p.stage) + 1 and p.count == len(expected) for p in told)
    training = [p for p in told if p.stage == "training" and p.loss is not None]
    steps = CHEAP[preset].training.steps
    assert len(training) == max(steps - 1, 0)
    assert [p.step for p in training] == list(range(1, steps)) and all(p.steps == steps for p in training)


def test_a_loss_that_is_not_finite_is_not_told(case: Case) -> None:
    """Before the first step there is none."""
    assert all(p.loss is None or np.isfinite(p.loss) for p in followed(case, PAPER))


@pytest.mark.parametrize("stage", OF_ONE_VOLUME)
def test_stop_takes_effect_at_once_in_every_stage(case: Case, stage: str) -> None:
    """Nothing is trained in presets that are in use."""
    told, chosen = list[Progress](), quickly_filled(PAPER if stage == "training" else PRESETS["balanced"])

    def asked() -> bool:
        return bool(told) and told[-1].stage == stage

    with pytest.raises(Cancelled, match="nothing was written"):
        replace(case, labelled=SOME).reconstructed(chosen, progress=told.append, should_stop=asked)
    assert [p.stage for p in told].count(stage) <= 2  # that it began, and at most that it ended
    assert told[-1].stage == stage


def test_stop_before_anything_happens(case: Case) -> None:
    told: list[Progress] = []
    with pytest.raises(Cancelled):
        case.reconstructed(progress=told.append, should_stop=lambda: True)
    assert not told


def test_uneven_slices(case: Case) -> None:
    uneven = replace(case, observed={"k": Selection((0, 1, 5, 7, 12), 13)})
    result = uneven.reconstructed()
    assert result.report.provenance.trusted_slices == 5
    observed = [0, 1, 5, 7, 12]
    assert psnr(result.volume.array[observed], case.array[observed]) > 38
    assert np.isfinite(result.volume.array).all() and np.isfinite(result.confidence.array).all()
    assert psnr(result.volume.array, case.array) > 22


def test_observed_slices_inside_the_volume(case: Case) -> None:
    """Beyond the outermost observed slices these are repeated, and any error within the range is expected."""
    result = replace(case, observed={"k": Selection((3, 6, 9), 13)}).reconstructed()
    for edge, beyond in ((3, range(3)), (9, range(10, 13))):
        for number in beyond:
            assert psnr(result.volume.array[number], case.array[edge]) > 30
    doubt = result.confidence.array
    assert (doubt[[0, 1, 2, 10, 11, 12]] == np.ptp(case.array[[3, 6, 9]])).all()
    assert doubt[3:10].max() < doubt[0].min()


@pytest.mark.parametrize("preset", CHEAP)
def test_two_observed_slices(case: Case, preset: str) -> None:
    result = replace(case, observed={"k": Selection((4, 8), 13)}).reconstructed(CHEAP[preset])
    assert np.isfinite(result.volume.array).all()
    assert "Too few" in result.report.self_check.note and "was not learnt" in result.report.self_check.note
    if preset != "blind":
        assert psnr(result.volume.array[[4, 8]], case.array[[4, 8]]) > {"fast": 40, "paper": 15}[preset]


def test_confidence(case: Case, base: Reconstruction) -> None:
    """Least on observed slices, in the input's units, and about as large as the error."""
    doubt = base.confidence.array
    assert base.confidence.grid is case.grid and doubt.dtype == np.float32 and (doubt >= 0).all()
    by_slice = doubt.mean(axis=(1, 2))
    assert by_slice[::3].max() < 0.5 * by_slice[1::3].min()
    error = np.abs(base.volume.array - case.array)
    hidden = np.arange(13) % 3 > 0
    assert 0.4 < doubt[hidden].mean() / error[hidden].mean() < 4
    louder = replace(case, array=10 * case.array).reconstructed(labels=False)
    np.testing.assert_allclose(louder.confidence.array, 10 * doubt, rtol=0.05, atol=0.5)


@pytest.mark.parametrize("axis", ["i", "j"])
def test_other_axes(case: Case, base: Reconstruction, axis: Axis) -> None:
    """The same slices stacked along another axis of the array give the same volume."""
    order = {"i": (1, 2, 0), "j": (1, 0, 2)}[axis]
    array = np.ascontiguousarray(case.array.transpose(order))
    layers = np.ascontiguousarray(case.layers.transpose(0, *(n + 1 for n in order)))
    result = Case(array, layers, Grid(array.shape), {axis: Selection.every(13, 3)}).reconstructed()
    assert result.volume.array.shape == array.shape
    assert_close(result, base, tuple(np.argsort(order)), 1e-4 if axis == "i" else LEARNT_OTHERWISE)


def assert_close(result: Reconstruction, base: Reconstruction, order: tuple[int, ...], tolerance: float) -> None:
    """Volumes agree within `tolerance` of the range, nearly all labels are equal."""
    spread = float(np.ptp(base.volume.array))
    assert np.abs(result.volume.array.transpose(order) - base.volume.array).max() <= tolerance * spread
    assert np.abs(result.confidence.array.transpose(order) - base.confidence.array).max() <= 2 * tolerance * spread
    assert result.segmentation is not None and base.segmentation is not None
    layers = result.segmentation.layers.transpose(0, *(n + 1 for n in order))
    assert (layers == base.segmentation.layers).mean() > (0.998 if tolerance < LEARNT_OTHERWISE else 0.995)


@pytest.mark.parametrize(("name", "tolerance"),
                         [("oblique", 1e-4), ("moved", 1e-4), ("left-handed", LEARNT_OTHERWISE)])
def test_the_direction_of_the_grid_does_not_matter(case: Case, base: Reconstruction, rotation: tuple, name: str,
                                                   tolerance: float) -> None:
    direction = np.asarray(rotation) * ((1, 1, -1) if name == "left-handed" else 1)
    origin = (310.0, -120.5, 77.0) if name == "moved" else (0.0, 0.0, 0.0)
    other = replace(case, grid=Grid(SHAPE, origin, (1, 1, 1), direction))
    result = other.reconstructed()
    assert result.volume.grid is other.grid
    assert_close(result, base, (0, 1, 2), tolerance)


def test_spacing_scales_with_the_model(case: Case, base: Reconstruction) -> None:
    """The same array with voxels of half the size is the same reconstruction, half as large."""
    result = replace(case, grid=Grid(SHAPE, spacing=(0.5, 0.5, 0.5))).reconstructed()
    assert_close(result, base, (0, 1, 2), 1e-3)


def test_a_finer_output(truth: np.ndarray) -> None:
    """All slices of a thick stack observed, the output three times as fine."""
    thick = Case((1000 * truth[::3]).astype(np.float32), labelled(truth[::3]), Grid((5, 28, 30), spacing=(1, 1, 3)),
                 {"k": Selection.every(5, 1)})
    fine = thick.grid.resampled("k", 1.0)
    result = reconstruct(thick.observations(), fine)
    assert result.volume.array.shape == result.confidence.array.shape == SHAPE
    assert result.volume.grid is fine
    assert psnr(result.volume.array[::3], thick.array) > 42
    linear = np.stack([np.interp(np.arange(13), np.arange(0, 13, 3), column)
                       for column in thick.array.reshape(5, -1).T], axis=1).reshape(SHAPE)
    assert psnr(result.volume.array, 1000 * truth) > psnr(linear, 1000 * truth) + 2
    assert result.segmentation is not None and result.segmentation.layers.shape == (2, *SHAPE)
    coarse = reconstruct(thick.observations(), thick.grid)
    np.testing.assert_allclose(coarse.volume.array, result.volume.array[::3], atol=0.05)


def test_any_grid_can_be_drawn(case: Case, rotation: tuple) -> None:
    """An output grid that is oblique to the observed slices shows the same structures."""
    centre = np.array([15.0, 14.0, 6.0])
    tilted = Grid((9, 14, 14), spacing=(0.8, 0.8, 0.8), direction=rotation)
    tilted = replace(tilted, origin=centre - tilted.index_to_physical(np.array([6.5, 6.5, 4.0])))
    result = reconstruct(case.observations(labels=False), tilted)
    k, j, i = np.meshgrid(*(np.arange(n) for n in tilted.shape), indexing="ij")
    at = tilted.index_to_physical(np.stack([i, j, k], axis=-1))
    expected = map_coordinates(case.array, at[..., ::-1].reshape(-1, 3).T, order=3).reshape(tilted.shape)
    assert psnr(result.volume.array, expected) > 24


def wrong(result: Reconstruction, case: Case, where: np.ndarray) -> float:
    """Root mean squared error of the pixels `where`."""
    return float(np.sqrt(((result.volume.array - case.array)[where] ** 2).mean()))


def test_crossing_slices_are_used(case: Case) -> None:
    """They bring the result much nearer to the truth where they cross, and nearer beside them."""
    observed: dict[Axis, Selection] = {"k": Selection.every(13, 6), "j": Selection.every(28, 9),
                                      "i": Selection.every(30, 9)}
    three, k_only = replace(case, observed=observed), replace(case, observed={"k": observed["k"]})
    plain, result = k_only.reconstructed(labels=False), three.reconstructed(labels=False)
    assert len(result.report.residuals) == 3
    crossed = three.seen & ~k_only.seen
    assert wrong(result, case, crossed) < 0.4 * wrong(plain, case, crossed)
    assert wrong(result, case, ~three.seen) < 0.8 * wrong(plain, case, ~three.seen)


def test_a_few_crossing_slices_do_no_harm(case: Case) -> None:
    """Who uses two more slices of another axis gets no worse a result between them."""
    few = replace(case, observed={**case.observed, "i": Selection((8, 20), 30)})
    unseen = ~few.seen
    plain, result = case.reconstructed(labels=False), few.reconstructed(labels=False)
    assert wrong(result, case, unseen) < 1.25 * wrong(plain, case, unseen)


def test_the_report(case: Case, base: Reconstruction) -> None:
    report, told = base.report, base.report.provenance
    assert told.preset == "fast" and told.device == "cpu" and report.labels == 3
    assert told.trusted_slices == 5 and report.gaussians == len(base.model.parameters)
    assert list(report.seconds) == list(STAGES) and min(report.seconds.values()) >= 0
    assert sum(report.weights.values()) == pytest.approx(1, abs=1e-3)
    residual, = report.residuals
    difference = np.abs(base.volume.array[::3] - case.array[::3])
    assert residual.mean_absolute == pytest.approx(float(difference.mean()), rel=1e-3)
    assert residual.largest == pytest.approx(float(difference.max()), rel=1e-3)
    assert residual.psnr > 45 and residual.label_agreement is not None and residual.label_agreement > 0.99
    check = report.self_check
    assert check.slices == 3 and list(check.per_slice) == [1, 2, 3]
    assert check.psnr == pytest.approx(np.mean(list(check.per_slice.values())), abs=0.02)
    assert check.psnr is not None and 10 < check.psnr < 60


def test_the_report_and_the_provenance_of_the_model_survive_json(base: Reconstruction) -> None:
    told = json.dumps(base.report.to_json(), allow_nan=False)
    assert Report.from_json(json.loads(told)) == base.report
    assert Provenance.from_json(json.loads(json.dumps(dict(base.model.provenance)))) == base.report.provenance


def test_a_blind_grid_fits_what_it_sees(case: Case) -> None:
    """More steps bring the observed slices nearer."""

    rates = {name: 5 * rate for name, rate in PAPER.training.learning_rates.items()}

    def told(steps: int) -> Report:
        preset = replace(BLIND, blind=replace(BLIND.blind, size=14),
                         training=replace(PAPER.training, steps=steps, learning_rates=rates))
        return case.reconstructed(preset).report

    few, more = told(2), told(25)
    assert more.residuals[0].psnr > few.residuals[0].psnr + 2
    assert more.losses["training"] < 0.8 * few.losses["training"]


@pytest.mark.parametrize("fusion", ["concatenate", "weighted_sum"])
def test_both_fusions_work(case: Case, fusion: str) -> None:
    preset = replace(FAST, triplane=replace(FAST.triplane, fusion=fusion))  # type: ignore[arg-type]
    result = case.reconstructed(preset, labels=False)
    assert psnr(result.volume.array[::3], case.array[::3]) > 40


def test_devices(case: Case) -> None:
    with pytest.raises(BackendUnavailableError, match="CUDA.*choose the device 'cpu'"):
        case.reconstructed(device="cuda")
    with pytest.raises(InputError, match="Unknown device 'tpu'.*auto, cpu, cuda"):
        case.reconstructed(device="tpu")


def test_presets(case: Case) -> None:
    with pytest.raises(InputError, match="Unknown preset 'finest'.*fast, balanced, best, paper"):
        case.reconstructed("finest")
    assert preset_named("fast") is FAST
    for name, preset in PRESETS.items():
        assert preset.name == name and preset.triplane.residual_limits


def test_slices_at_the_same_place_are_refused(case: Case) -> None:
    observations = case.observations()
    stack = observations.stacks[0]
    origins = stack.planes.origins.copy()
    origins[2] = origins[1]
    doubled = replace(observations, stacks=(replace(stack, planes=replace(stack.planes, origins=origins)),))
    with pytest.raises(InputError, match="same place. Exclude one"):
        reconstruct(doubled, case.grid)


@pytest.mark.parametrize("shape", [(5, 12, 14), (4, 1, 30), (3, 2, 2), (5, 30, 1)])
def test_tiny_slices(shape: tuple[int, int, int]) -> None:
    """Too small for any displacement, but not too small to be reconstructed."""
    array = np.random.default_rng(0).uniform(0, 100, shape).astype(np.float32)
    tiny = Case(array, np.zeros((1, *shape), np.uint8), Grid(shape), {"k": Selection.every(shape[0], 2)})
    result = tiny.reconstructed(labels=False)
    assert result.volume.array.shape == shape and np.isfinite(result.volume.array).all()
    assert np.isfinite(result.confidence.array).all()
    assert AXES[2] in tiny.observed
