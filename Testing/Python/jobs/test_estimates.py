"""What is expected of a reconstruction before it starts."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from repository import ROOT

from TriplaneGaussianReconLib.config.data import GapSamplingConfig
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.gap_sampling import layer_count, plane_counts
from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.output_grid import output_grid
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs import costs, estimates
from TriplaneGaussianReconLib.jobs.costs import DeviceKind
from TriplaneGaussianReconLib.jobs.estimates import Slowness, estimate, gaussians
from TriplaneGaussianReconLib.jobs.untrained import Untrained
from TriplaneGaussianReconLib.pipeline.reconstruction import Memory, reconstruct

GAPS = GapSamplingConfig()


def cube(size: int, step: int) -> tuple[Grid, dict]:
    return Grid((size, size, size)), {"k": Selection.every(size, step)}


# As measured, see the module: preset, cube, step, labels, seconds on two cores, GB.
@pytest.mark.parametrize(("preset", "size", "step", "has_labels", "seconds", "memory"), [
    ("fast", 64, 4, False, 5.5, 0.67), ("fast", 96, 4, False, 6.3, 0.87), ("fast", 160, 4, False, 10.3, 1.44),
    ("balanced", 64, 4, False, 89.6, 0.81), ("balanced", 160, 4, False, 112.2, 1.56),
    ("balanced", 64, 4, True, 116.1, 0.86),
    ("paper-displaced", 64, 4, False, 13.6, 0.78), ("paper-displaced", 96, 4, False, 23.7, 1.32)])
def test_what_was_measured_is_what_is_expected(preset: str, size: int, step: int, has_labels: bool, seconds: float,
                                               memory: float) -> None:
    expected = estimate(*cube(size, step), has_labels, preset, "cpu")
    assert expected.seconds == pytest.approx(seconds, rel=0.1)
    assert expected.memory_bytes == pytest.approx(memory * 1e9, rel=0.1 if preset == "fast" else 0.22)
    assert expected.is_measured and expected.gpu_memory_bytes == 0


def test_a_training_from_a_blind_start_takes_as_long_as_its_steps() -> None:
    def seconds(steps: int | None, every: int = 4) -> float:
        return estimate(*cube(160, every), False, "paper", "cpu", steps=steps).seconds

    one, two, half = seconds(100), seconds(200), seconds(100, 8)
    assert two - one == pytest.approx(100 * 2.2 * 1.024, rel=0.01)
    assert one - half == pytest.approx((two - one) / 2, rel=0.01)
    assert seconds(None) == seconds(PRESETS["paper"].training.steps)
    with pytest.raises(InputError, match="'fast' trains no Gaussians.*paper, paper-normalised, paper-displaced"):
        estimate(*cube(16, 4), False, "fast", "cpu", steps=5)


# As measured, see the module: shape, labels, preset, steps, seconds on two cores without loading, GB.
@pytest.mark.parametrize(("shape", "labels", "preset", "steps", "seconds", "memory"), [
    ((73, 47, 73), 10, "fast", 900, 17.8, 0.49), ((73, 47, 73), 10, "fast", 1, 0.4, 0.49),
    ((88, 160, 214), 1, "fast", 900, 22.0, 0.69), ((88, 160, 214), 1, "fast", 1, 2.8, 0.69),
    ((197, 177, 160), 45, "fast", 90, 15.5, 1.39)])
def test_what_filling_labels_took_is_what_is_expected(shape: tuple[int, int, int], labels: int, preset: str, steps: int,
                                                      seconds: float, memory: float, monkeypatch: pytest.MonkeyPatch
                                                      ) -> None:
    known = PRESETS[preset]
    monkeypatch.setitem(PRESETS, preset, replace(known, label_completion=replace(known.label_completion, steps=steps)))
    every = {"k": Selection.every(shape[0], 1)}
    expected = estimate(Grid(shape), every, True, preset, "cpu", filled=labels, fits=False)
    loading = estimate(Grid(shape), every, True, preset, "cpu", fits=False)
    assert expected.seconds - loading.seconds == pytest.approx(seconds, rel=0.25)
    assert expected.memory_bytes == pytest.approx(memory * 1e9, rel=0.25) and expected.is_measured


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_filling_labels_comes_on_top_of_fitting(kind: DeviceKind) -> None:
    known, alone, fitted, both = (estimate(*cube(64, 1), True, "fast", kind, filled, fits) for filled, fits in (
        (0, False), (5, False), (0, True), (5, True)))
    assert known.seconds < alone.seconds < both.seconds and fitted.seconds < both.seconds
    assert both.seconds - fitted.seconds == pytest.approx(alone.seconds - known.seconds)
    assert fitted.is_measured and both.is_measured == (kind == "cpu")


@pytest.mark.parametrize("preset", PRESETS)
def test_going_on_from_what_was_learnt_takes_a_fraction(preset: str) -> None:
    known, warm, cold = (estimate(*cube(64, 1), True, preset, "cpu", filled, False, is_warm) for filled, is_warm in (
        (0, True), (5, True), (5, False)))
    assert known.seconds < warm.seconds and warm.memory_bytes == cold.memory_bytes
    assert warm.seconds - known.seconds < 0.2 * (cold.seconds - known.seconds)


@pytest.mark.parametrize(("preset", "seconds"), [("fast", 2.6), ("balanced", 7.5), ("best", 21.4)])
def test_what_was_measured_on_a_gpu_is_what_is_expected(preset: str, seconds: float) -> None:
    expected = estimate(*cube(160, 4), False, preset, "cuda")
    assert expected.seconds == pytest.approx(seconds, rel=0.1)
    assert 0 < expected.gpu_memory_bytes < 2e9


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_all_presets_are_known_and_better_ones_take_longer(kind: DeviceKind) -> None:
    seconds = {preset: estimate(*cube(128, 4), True, preset, kind).seconds for preset in PRESETS}
    assert seconds["fast"] < seconds["balanced"] < seconds["best"]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("preset", PRESETS)
def test_more_work_takes_longer_and_more_memory(preset: str, kind: DeviceKind) -> None:
    least = estimate(*cube(64, 4), False, preset, kind)
    for more in (estimate(*cube(64, 4), True, preset, kind), estimate(*cube(96, 4), False, preset, kind)):
        assert more.seconds > least.seconds and more.memory_bytes > least.memory_bytes


def thick(distance: float, pixel: float = 1.0) -> tuple[Grid, dict[Axis, Selection]]:
    """All slices of a scan with slices of 64 x 64 pixels that are as thick as they are apart."""
    return Grid((20, 64, 64), spacing=(pixel, pixel, distance)), {"k": Selection.every(20, 1)}


# What is expected less than if all networks were learnt, in seconds for any volume.
@pytest.mark.parametrize(("preset", "distance", "labels", "less"), [
    ("fast", 2.0, True, 0.0), ("fast", 2.1, False, 0.0), ("fast", 2.1, True, 4.3),
    ("balanced", 2.0, True, 0.44 * 88.0), ("balanced", 2.1, True, 0.44 * 88.0 + 26.5),
    ("balanced", 1.4, True, 88.0 + 26.5 - 2.5), ("fast", 1.4, True, 5.1 + 4.3 - 2.5), ("paper", 4.0, True, 0.0)])
def test_networks_that_the_slices_cannot_train_take_no_time(preset: str, distance: float, labels: bool, less: float,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    expected = estimate(*thick(distance), labels, preset, "cpu")
    monkeypatch.setattr(Untrained, "of", lambda *_: Untrained())
    assert estimate(*thick(distance), labels, preset, "cpu").seconds - expected.seconds == pytest.approx(less)


@pytest.mark.parametrize(("distance", "steps"), [
    (1.4, set()), (1.9, {"image", "labels"}), (2.1, {"image"}), (1.0, {"image", "fusion", "labels"})])
def test_what_is_expected_to_be_left_out_is_what_a_run_leaves_out(distance: float, steps: set[str],
                                                                  textured: Callable[..., np.ndarray]) -> None:
    """With few steps; at 1 mm every second slice is used."""
    grid = Grid((25, 40, 40), spacing=(1.0, 1.0, distance))
    observed: dict[Axis, Selection] = {"k": Selection.every(25, 1 if distance > 1.0 else 2)}
    array, preset = textured(grid.shape), PRESETS["balanced"]
    preset = replace(preset, **{name: replace(getattr(preset, name), steps=2, width=4, blocks=1)
                                for name in ("super_resolution", "fusion", "label_super_resolution")})
    labels = Segmentation.from_labelmap((array > 0.5).astype(np.uint8), grid)
    found = reconstruct(Observations.from_volume(Image(array, grid), observed, labels), output_grid(grid, "k", 1.0),
                        preset=preset, device="cpu", memory=Memory(keep_model=False))
    left = Untrained.of(grid, observed, preset)
    learnt = {"image": "learning", "fusion": "fusion", "labels": "labels"}
    assert {name for name in learnt if not getattr(left, name)} == steps
    assert {name for name, stage in learnt.items() if stage in found.report.losses} == steps


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_preset_that_was_not_measured_is_guessed(kind: DeviceKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """From how much more its networks compute than those of the default preset; the same preset takes the same."""
    fast = PRESETS["fast"]
    assert fast.super_resolution is not None
    longer = replace(fast.super_resolution, steps=10 * fast.super_resolution.steps)
    for preset in (replace(fast, name="twin"), replace(fast, name="longer", super_resolution=longer)):
        monkeypatch.setitem(PRESETS, preset.name, preset)
    known, twin, more = (estimate(*cube(64, 4), True, name, kind) for name in ("fast", "twin", "longer"))
    assert known.is_measured and not twin.is_measured and not more.is_measured
    assert twin.seconds == pytest.approx(known.seconds) and twin.memory_bytes == known.memory_bytes
    fixed = costs.COSTS[kind]["fast"].fixed
    assert more.seconds - known.seconds == pytest.approx(9 * fixed, rel=0.01)


def test_a_slower_computer_takes_longer_but_no_more_memory() -> None:
    here, learning, drawing = (estimate(*cube(96, 4), True, "fast", "cpu", slowness=slow) for slow in (
        Slowness(), Slowness(learning=2.0), Slowness(drawing=2.0)))
    assert learning.seconds - here.seconds == pytest.approx(costs.COSTS["cpu"]["fast"].fixed
                                                            + costs.COSTS["cpu"]["fast"].labels)
    assert learning.seconds + drawing.seconds == pytest.approx(3.0 * here.seconds)
    assert here.memory_bytes == learning.memory_bytes == drawing.memory_bytes


@pytest.mark.parametrize(("threads", "slow"), [(None, Slowness(1.0, 1.0)), (8, Slowness(1.0, 1.0)),
                                               (100, Slowness(1.0, 1.0)), (4, Slowness(1.0, 2.0)),
                                               (2, Slowness(1.0, 4.0)), (1, Slowness(2.0, 8.0))])
def test_fewer_threads_take_longer(threads: int | None, slow: Slowness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight: two networks are trained at a time, whatever there is; drawing uses all threads."""
    monkeypatch.setattr(estimates, "usable_threads", lambda: 8)
    assert Slowness().with_threads(threads) == slow


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(InputError, match="Unknown preset 'worst'. Choose one of fast, "):
        estimate(*cube(64, 4), False, "worst", "cpu")


@pytest.mark.parametrize("every", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [1.0, 2.0, 2.49, 2.5, 3.0, 6.0])
def test_gaps_have_as_many_layers_as_in_the_reconstruction(width: float, every: int) -> None:
    grid = Grid((1 + every, 10, 12), spacing=(0.5, 0.7, width * 0.5 / every))
    count, = plane_counts(np.array([width * 0.5]), 0.5, width * 0.5 / every, GAPS).tolist()
    assert gaussians(grid, {"k": Selection((0, every), every + 1)}, GAPS) == 120 * (2 + layer_count(count))


def test_the_axis_whose_observed_slices_lie_closest_counts() -> None:
    grid = Grid((40, 30, 20))
    both = {"k": Selection.every(40, 4), "i": Selection.every(20, 2)}
    assert gaussians(grid, both, GAPS) == gaussians(grid, {"i": both["i"]}, GAPS) == 40 * 30 * (10 + 9)


def test_there_are_about_as_many_gaussians() -> None:
    array = np.random.default_rng(0).integers(0, 1000, (21, 40, 40)).astype(np.int16)  # nothing of it empty
    grid, observed = Grid(array.shape), {"k": Selection.every(21, 4)}
    result = reconstruct(Observations.from_volume(Image(array, grid), observed), grid, device="cpu")
    assert result.report.gaussians == pytest.approx(gaussians(grid, observed, GAPS), rel=0.25)


def test_expecting_loads_nothing_heavy() -> None:
    code = ("import sys\nimport TriplaneGaussianReconLib.jobs.estimates\n"
            "print(sorted({'torch', 'numba', 'cv2', 'SimpleITK', 'scipy', 'psutil'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
