"""Super-resolution across the slices, trained on lines within them."""
from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from TriplaneGaussianReconLib.config.presets import PRESETS, SuperResolutionConfig
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction, reconstruct
from TriplaneGaussianReconLib.runtime.progress import Progress
from TriplaneGaussianReconLib.self_supervised import super_resolution
from TriplaneGaussianReconLib.self_supervised.networks import ResidualNetwork
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext
from TriplaneGaussianReconLib.self_supervised.super_resolution import SuperResolution, Trainer, train_all

CPU, GPU = torch.device("cpu"), torch.device("cuda")
CONFIG = SuperResolutionConfig(width=12, blocks=1, steps=150, batch=32, rate=7e-3)
BRIEF = SuperResolutionConfig(width=6, blocks=1, steps=8, batch=16, rate=5e-3)
UNEVEN = np.array([0.0, 2.0, 3.0, 7.0, 8.5, 12.0])
QUARTERS = np.array([0.25, 0.5, 0.75])

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Scene:
    """Waves in all directions, known everywhere, of which slices of some thickness are observed.

    positions: (plane,) mm.  pitches: mm between rows and columns.  shortest: mm, of the wavelengths.
    """

    positions: np.ndarray
    pitches: tuple[float, float] = (1.0, 1.0)
    pixels: tuple[int, int] = (40, 44)
    thickness: float = 0.0
    shortest: float = 9.0

    def at(self, positions: np.ndarray) -> np.ndarray:
        """[plane, row, column] in [0, 1], float32."""
        generator = np.random.default_rng(0)
        depths = np.asarray(positions)[:, None] + self.thickness * (np.arange(8) - 3.5) / 8.0
        rows, columns = (np.arange(n) * pitch for n, pitch in zip(self.pixels, self.pitches, strict=True))
        place = np.stack(np.broadcast_arrays(depths[..., None, None], rows[:, None], columns), axis=-1)
        result = np.zeros(place.shape[:-1])
        for _ in range(40):
            way = generator.standard_normal(3)
            way *= 2.0 * np.pi / np.linalg.norm(way) / (self.shortest * generator.uniform(1.0, 1.6))
            result += np.sin(place @ way + generator.uniform(0.0, 2.0 * np.pi))
        return (0.5 + 0.4 * np.tanh(0.12 * result)).mean(axis=1).astype(np.float32)

    @cached_property
    def slices(self) -> np.ndarray:
        return self.at(self.positions)

    def trainer(self, config: SuperResolutionConfig = CONFIG, seed: int = 0, thickness: float | None = None,
                device: torch.device = CPU) -> Trainer:
        thickness = self.thickness if thickness is None else thickness
        return Trainer(torch.from_numpy(self.slices).to(device), self.positions, self.pitches, thickness, config, seed)

    def between(self, gaps: np.ndarray, fractions: np.ndarray) -> np.ndarray:
        """(gap, T) mm."""
        widths = self.positions[gaps + 1] - self.positions[gaps]
        return self.positions[gaps, None] + widths[:, None] * fractions

    def psnr(self, network: SuperResolution | None, trainer: Trainer, gaps: np.ndarray, fractions: np.ndarray) -> float:
        """Of the planes between the observed slices."""
        assert network is not None
        return self._psnr(network.predict(trainer.slices, trainer.context(gaps, fractions)).cpu().numpy(), gaps,
                          fractions)

    def psnr_of_interpolators(self, gaps: np.ndarray, fractions: np.ndarray) -> tuple[float, float]:
        """Linear and pchip."""
        where = self.between(gaps, fractions)
        share = (where - self.positions[gaps, None])[..., None, None] / np.diff(self.positions)[gaps, None, None, None]
        linear = (1.0 - share) * self.slices[gaps, None] + share * self.slices[gaps + 1, None]
        pchip = PchipInterpolator(self.positions, self.slices.astype(np.float64))(where)
        return self._psnr(linear, gaps, fractions), self._psnr(pchip, gaps, fractions)

    def _psnr(self, found: np.ndarray, gaps: np.ndarray, fractions: np.ndarray) -> float:
        truth = self.at(self.between(gaps, fractions).ravel()).reshape(found.shape)
        return float(-10.0 * np.log10(((found - truth) ** 2).mean()))


def never_stop(step: int, steps: int, loss: float) -> None:
    pass


def trained(trainer: Trainer, gaps: np.ndarray, fractions: np.ndarray) -> SuperResolution | None:
    return trainer.train(trainer.context(gaps, fractions), never_stop)


def weights_of(network: SuperResolution | None) -> list[Tensor]:
    assert network is not None
    return [parameter.detach().cpu() for parameter in network.network.parameters()]


def same_bits(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ---- training


SCENES = {
    "even": (Scene(np.arange(9) * 4.0), QUARTERS),
    "few pixels": (Scene(np.arange(13) * 2.0, shortest=5.0), np.array([0.5])),
    "ratio not whole": (Scene(np.arange(9) * 3.6), QUARTERS),
    "pixels that are no squares": (Scene(np.arange(9) * 4.0, (0.8, 1.25), (50, 38)), QUARTERS),
    "uneven": (Scene(np.array([0.0, 3.0, 7.0, 12.0, 15.0, 20.0, 24.0, 27.0, 31.0])), QUARTERS),
    "thick": (Scene(np.arange(9) * 4.0, thickness=2.0), np.array([0.5])),
}


@pytest.mark.parametrize("name", SCENES)
def test_hidden_planes_are_nearer_to_the_truth_than_interpolated_ones(name: str) -> None:
    scene, fractions = SCENES[name]
    gaps, trainer = np.arange(len(scene.positions) - 1), scene.trainer()
    network = trained(trainer, gaps, fractions)
    assert scene.psnr(network, trainer, gaps, fractions) > max(scene.psnr_of_interpolators(gaps, fractions)) + 1.5


def test_gaps_of_few_pixels_are_filled_from_six_slices() -> None:
    for width, size in ((2.0, 6), (2.9, 6), (3.0, 4), (5.0, 4)):
        trainer = Scene(np.arange(7) * width).trainer()
        assert trainer.context(np.arange(6), QUARTERS).planes.shape == (6, size)
    trainer = Scene(np.arange(7) * 2.0).trainer()
    assert trainer.context(np.arange(5), QUARTERS, 2).planes.shape == (5, 4)  # twice the gap has four pixels
    assert Scene(np.arange(7) * 2.0, (0.5, 1.0)).trainer().context(np.arange(6), QUARTERS).planes.shape == (6, 4)


def test_a_network_knows_what_it_can_fill() -> None:
    scene, gaps = SCENES["even"][0], np.arange(8)
    network = trained(scene.trainer(replace(CONFIG, augmentations=2)), gaps, QUARTERS)
    assert network is not None and (network.size, network.config.augmentations) == (4, 2)
    assert network.widths == (1.5, 39.0) and network.bridges(1.5) and network.bridges(39.0)
    assert not network.bridges(1.4) and not network.bridges(39.1)


def test_the_same_seed_gives_the_same_bits() -> None:
    scene, gaps = SCENES["even"][0], np.arange(8)
    first, again, other = (weights_of(trained(scene.trainer(BRIEF, seed), gaps, QUARTERS)) for seed in (0, 0, 1))
    assert same_bits(first, again) and not same_bits(first, other)


def test_the_tick_tells_how_far_and_may_stop() -> None:
    scene, told = SCENES["even"][0], []
    trainer = scene.trainer(BRIEF)
    context = trainer.context(np.arange(8), QUARTERS)
    trainer.train(context, lambda step, steps, loss: told.append((step, steps, np.isfinite(loss))))
    assert told == [(step, 8, step > 0) for step in range(8)]
    told.clear()
    trainer.train(context, lambda step, steps, loss: told.append((step, steps)), share=0.5)
    assert told == [(step, 4) for step in range(4)]
    told.clear()
    trainer.train(context, lambda step, steps, loss: told.append((step, steps)), share=0.01)
    assert told == [(0, 1)]

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        trainer.train(context, stop)


@pytest.mark.parametrize("threads", [1, 2])
def test_networks_trained_together_are_those_trained_alone(threads: int) -> None:
    """Bit by bit, whatever the number of threads; tasks that cannot be trained for among them."""
    scene, gaps = SCENES["even"][0], np.arange(8)
    trainer = scene.trainer(BRIEF)
    training_tasks = [(trainer.context(gaps, QUARTERS), 1.0), (trainer.context(gaps[:0], QUARTERS), 1.0),
                      (trainer.context(gaps, np.array([0.5])), 0.5)]
    alone = [trainer.train(context, never_stop, share) for context, share in training_tasks]
    torch.set_num_threads(threads)
    together = train_all(trainer, training_tasks, never_stop)
    assert torch.get_num_threads() == threads  # put back
    assert together[1] is None and alone[1] is None
    for number in (0, 2):
        assert same_bits(weights_of(together[number]), weights_of(alone[number]))
    assert train_all(trainer, [], never_stop) == []


def test_training_leaves_the_settings_of_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if one training begins before another ends, and ends after it."""
    begun, one_ended = [threading.Event(), threading.Event()], threading.Event()

    def minimised(*_: object) -> None:
        first = not begun[0].is_set()
        begun[0 if first else 1].set()
        (begun[1] if first else one_ended).wait(0.5)

    def noted(*arguments: Any, **named: Any) -> SuperResolution:
        one_ended.set()
        return SuperResolution(*arguments, **named)

    monkeypatch.setattr(super_resolution, "minimise", minimised)
    monkeypatch.setattr(super_resolution, "SuperResolution", noted)
    trainer, before = SCENES["even"][0].trainer(BRIEF), settings()
    train_all(trainer, [(trainer.context(np.arange(8), QUARTERS), 1.0)] * 2, never_stop)
    after = settings()
    torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark = before[:2]
    torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = before[2:]
    assert after == before


def settings() -> tuple[bool, bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32


def test_the_tick_of_several_trainings_comes_now_and_then_and_may_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the calling thread; the trainings stop as well."""
    monkeypatch.setattr(super_resolution, "TICK_SECONDS", 1e-3)
    trainer = SCENES["even"][0].trainer(replace(BRIEF, steps=60))
    training_tasks, told = [(trainer.context(np.arange(8), QUARTERS), share) for share in (1.0, 0.5)], []
    before, caller = set(threading.enumerate()), threading.current_thread()

    def tick(step: int, steps: int, loss: float) -> None:
        assert threading.current_thread() is caller
        told.append((step, steps))

    train_all(trainer, training_tasks, tick)
    assert len(told) > 3 and told == sorted(told) and told[-1][0] == 90 and {steps for _, steps in told} == {90}
    told.clear()

    def stop(step: int, steps: int, loss: float) -> None:
        told.append((step, steps))
        if step >= 6:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        train_all(trainer, training_tasks, stop)
    assert 6 <= told[-1][0] < 80 and set(threading.enumerate()) == before


def test_the_loss_told_is_of_the_first_network_that_is_trained() -> None:
    """Those before it, of gaps too narrow, have none."""
    trainer, told, alone = Scene(np.array([0.0, 1.0, 5.0, 9.0])).trainer(BRIEF), [], []
    narrow, wide, last = (trainer.context(np.array(gaps), QUARTERS) for gaps in ([0], [1, 2], [2]))
    networks = train_all(trainer, [(each, 1.0) for each in (narrow, wide, last)], lambda *now: told.append(now))
    assert [network is None for network in networks] == [True, False, False]
    trainer.train(wide, lambda *now: alone.append(now))
    assert told[-1] == (24, 24, alone[-1][2])


@pytest.mark.parametrize(("width", "pitches"), [(1.4, (1.0, 1.0)), (1.4, (0.5, 1.0)), (39.5, (1.0, 1.0)),
                                                (22.0, (1.0, 0.5))])
def test_gaps_too_narrow_or_wider_than_the_slices_cannot_be_trained_for(width: float, pitches: tuple[float, float]
                                                                        ) -> None:
    trainer = Scene(np.arange(4) * width, pitches).trainer(BRIEF)
    assert trained(trainer, np.arange(3), QUARTERS) is None


def test_gaps_that_cannot_be_trained_for_are_left_out() -> None:
    """The training is as if the others were alone."""
    scene = Scene(np.array([0.0, 1.0, 5.0, 9.0, 60.0, 64.0]))
    some = weights_of(trained(scene.trainer(BRIEF), np.array([1, 2, 4]), QUARTERS))
    assert same_bits(some, weights_of(trained(scene.trainer(BRIEF), np.arange(5), QUARTERS)))


def test_blank_slices_are_not_trained_on() -> None:
    """The network is the one trained without them."""
    scene = SCENES["even"][0]
    slices, alive = scene.slices.copy(), np.array([0, 3, 4, 6, 7])
    slices[[1, 2, 5, 8]] = np.array([0.0, 1.0, 0.5, 0.2], np.float32)[:, None, None]
    blanks = replace(scene.trainer(BRIEF), slices=torch.from_numpy(slices))
    context = blanks.context(np.arange(8), QUARTERS)
    without = replace(blanks, slices=torch.from_numpy(slices[alive]))
    assert same_bits(*(weights_of(t.train(context, never_stop)) for t in (blanks, without)))
    constant = replace(blanks, slices=torch.full((9, 40, 44), 0.7))
    assert constant.train(context, never_stop) is None


def test_slices_of_one_pixel_are_not_trained_on() -> None:
    trainer = replace(SCENES["even"][0].trainer(BRIEF), slices=torch.rand(9, 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trainer.train(trainer.context(np.arange(8), QUARTERS), never_stop) is None


def test_of_many_slices_some_are_trained_on() -> None:
    """Spread over the stack, first and last included."""
    trainer = SCENES["even"][0].trainer(replace(BRIEF, most_slices=3))
    context = trainer.context(np.arange(8), QUARTERS)
    some = replace(trainer, slices=trainer.slices[[0, 4, 8]])
    assert same_bits(*(weights_of(t.train(context, never_stop)) for t in (trainer, some)))


# ---- how it is used


def untrained(augmentations: int = 1, size: int = 4, planes: int = 3) -> SuperResolution:
    """A network with some answer, that was not trained."""
    generator = torch.Generator().manual_seed(0)
    network = ResidualNetwork(size, planes, 6, 1, (1, 5), generator, size + planes)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return SuperResolution(network=network, config=replace(CONFIG, augmentations=augmentations), size=size,
                           widths=(0.0, np.inf))


def noise(planes: int = 6) -> Tensor:
    return torch.rand(planes, 14, 17, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("size", [4, 6])
@pytest.mark.parametrize("augmentations", [1, 2, 4])
def test_gaps_together_are_what_each_is_alone(augmentations: int, size: int) -> None:
    network, slices = untrained(augmentations, size), noise()
    fractions = np.random.default_rng(0).uniform(0.1, 0.9, (5, 3))
    together = network.predict(slices, SliceContext.around(np.arange(5), UNEVEN, fractions, size))
    assert together.shape == (5, 3, 14, 17) and together.dtype == torch.float32
    for gap in range(5):
        alone = network.predict(slices, SliceContext.around(np.array([gap]), UNEVEN, fractions[gap], size))
        torch.testing.assert_close(together[gap], alone[0], atol=1e-5, rtol=0.0)


def test_the_mean_of_both_directions_is_predicted() -> None:
    """Along rows the one, along columns the other: what changes in one row changes all rows of the other alone."""
    network, slices, context = untrained(2), noise(), SliceContext.around(np.arange(5), UNEVEN, QUARTERS, 4)
    directions = network.directions(slices, context)
    torch.testing.assert_close(network.predict(slices, context), directions.mean(dim=0))
    changed = slices.clone()
    changed[:, 7, 8] += 1.0
    along_rows, along_columns = (directions - network.directions(changed, context)).abs().amax(dim=(1, 2)) > 1e-5
    assert along_rows.any(dim=1).nonzero()[:, 0].tolist() == [7] and along_rows[7].sum() > 5
    assert along_columns.any(dim=0).nonzero()[:, 0].tolist() == [8] and along_columns[:, 8].sum() > 5


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("augmentations", [1, 2, 4])
def test_mirrored_slices_are_predicted_alike(augmentations: int, axis: int) -> None:
    network, slices, context = untrained(augmentations), noise(), SliceContext.around(np.arange(5), UNEVEN, QUARTERS, 4)
    change = (network.predict(slices.flip(axis), context).flip(axis + 1) - network.predict(slices, context)).abs().max()
    assert change < 1e-5 if augmentations == 4 else change > 1e-3


@pytest.mark.parametrize("size", [4, 6])
@pytest.mark.parametrize("augmentations", [1, 2, 4])
def test_slices_in_the_other_order_are_predicted_alike(augmentations: int, size: int) -> None:
    """At uneven positions, and planes that do not lie evenly either."""
    network, slices, fractions = untrained(augmentations, size), noise(), np.array([0.2, 0.3, 0.9])
    ahead = network.predict(slices, SliceContext.around(np.arange(5), UNEVEN, fractions, size))
    reverse = SliceContext.around(np.arange(5), 12.0 - UNEVEN[::-1], 1.0 - fractions[::-1], size)
    behind = network.predict(slices.flip(0), reverse).flip(0, 1)
    change = (behind - ahead).abs().max()
    assert change < 1e-5 if augmentations >= 2 else change > 1e-3


def test_before_training_it_is_linear() -> None:
    network = trained(SCENES["even"][0].trainer(replace(BRIEF, rate=0.0)), np.arange(8), QUARTERS)
    assert network is not None
    slices, context = noise(), SliceContext.around(np.arange(5), UNEVEN, QUARTERS, 4)
    expected = torch.stack([torch.lerp(slices[:-1], slices[1:], share) for share in (0.25, 0.5, 0.75)], dim=1)
    torch.testing.assert_close(network.predict(slices, context), expected)


def test_it_is_moved_whole() -> None:
    network = untrained(2)
    moved = network.on(torch.device("meta"))
    assert {p.device.type for p in moved.network.parameters()} == {"meta"}
    assert {p.device.type for p in network.network.parameters()} == {"cpu"}
    assert replace(moved, network=network.network) == network
    here, context = network.on(CPU), SliceContext.around(np.arange(5), UNEVEN, QUARTERS, 4)
    assert torch.equal(here.predict(noise(), context), network.predict(noise(), context))


# ---- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["even", "ratio not whole", "thick"])
def test_a_gpu_trains_as_well(name: str) -> None:
    """And the same bits twice."""
    scene, fractions = SCENES[name]
    gaps, found = np.arange(len(scene.positions) - 1), []
    for device in (CPU, GPU, GPU):
        trainer = scene.trainer(device=device)
        network = trained(trainer, gaps, fractions)
        found.append((weights_of(network), scene.psnr(network, trainer, gaps, fractions)))
    assert same_bits(found[1][0], found[2][0]) and found[1][1] == found[2][1]
    assert found[1][1] == pytest.approx(found[0][1], abs=0.3)


# ---- in the pipeline


FAST = replace(PRESETS["fast"], fusion=None,
               super_resolution=SuperResolutionConfig(6, 1, steps=12, batch=16, rate=5e-3))
PAPER = replace(PRESETS["paper-displaced"], training=replace(PRESETS["paper-displaced"].training, steps=1))


def reconstructed(array: np.ndarray, every: int = 4, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
                  preset: object = FAST, **arguments: object) -> Reconstruction:
    grid = Grid(array.shape, spacing=spacing)
    observations = Observations.from_volume(Image(array, grid), {"k": Selection.every(len(array), every)})
    return reconstruct(observations, grid, preset=preset, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    return Scene(np.arange(17.0), pixels=(24, 26), shortest=12.0).slices


def test_the_report_tells_the_weight_of_the_super_resolution(volume: np.ndarray) -> None:
    weights = reconstructed(volume).report.weights
    assert weights["super_resolution"] > 0.1 and sum(weights.values()) == pytest.approx(1.0, abs=1e-3)
    weights = reconstructed(volume, preset=PAPER).report.weights
    assert "super_resolution" not in weights and sum(weights.values()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", ["fast", "balanced", "best"])
def test_presets_for_use_have_a_super_resolution(name: str) -> None:
    assert PRESETS[name].super_resolution is not None and PRESETS["paper"].super_resolution is None


def test_training_is_told_and_can_be_stopped(volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle, and nothing is left running."""
    monkeypatch.setattr(super_resolution, "TICK_SECONDS", 1e-3)
    told: list[Progress] = []
    before = set(threading.enumerate()), torch.get_num_threads(), cv2.getNumThreads()

    def asked() -> bool:
        return bool(told) and told[-1].stage == "learning" and told[-1].step > 10

    with pytest.raises(Cancelled):
        reconstructed(volume, preset=replace(FAST, super_resolution=replace(CONFIG, steps=100)), progress=told.append,
                      should_stop=asked)
    learning = [progress for progress in told if progress.stage == "learning"]
    assert learning[-1] is told[-1] and 10 < learning[-1].step < 150 and learning[-1].steps == 150
    assert learning[-1].loss is not None and 0 < learning[-1].step < learning[-1].steps
    assert (set(threading.enumerate()), torch.get_num_threads(), cv2.getNumThreads()) == before


def test_gaps_of_several_widths_share_the_training(volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """One network for those with one plane, one for those with three, one that is judged."""
    monkeypatch.setattr(super_resolution, "TICK_SECONDS", 1e-3)
    grid, told = Grid(volume.shape), []
    observations = Observations.from_volume(Image(volume, grid), {"k": Selection((0, 2, 4, 8, 12, 14), 17)})
    reconstruct(observations, grid, preset=FAST, progress=told.append)
    learning = [progress for progress in told if progress.stage == "learning"][1:-1]
    assert {progress.steps for progress in learning} == {30} and learning[-1].step > 12
    assert [progress.step for progress in learning] == sorted(progress.step for progress in learning)


@pytest.mark.parametrize("count", [2, 3])
def test_few_slices(volume: np.ndarray, count: int) -> None:
    result = reconstructed(volume[:4 * count - 3])
    assert np.isfinite(result.volume.array).all() and result.volume.array.shape == (4 * count - 3, 24, 26)
    assert result.report.weights["super_resolution"] >= 0.2


@pytest.mark.parametrize("pixels", [12, 8, 3])
def test_small_slices(volume: np.ndarray, pixels: int) -> None:
    """With 3 pixels, narrower than the gaps, nothing can be trained."""
    result = reconstructed(np.ascontiguousarray(volume[:, :pixels, :pixels]))
    assert np.isfinite(result.volume.array).all()
    assert ("super_resolution" in result.report.weights) == (pixels > 4)


def test_some_slices_are_constant(volume: np.ndarray) -> None:
    changed = volume.copy()
    changed[[0, 8]] = 0.25
    result = reconstructed(changed)
    assert np.isfinite(result.volume.array).all() and result.report.weights["super_resolution"] > 0.0


def test_where_all_slices_are_constant_there_is_nothing_to_train_on() -> None:
    """They differ from each other, so there is something to fill."""
    stairs = np.repeat(np.arange(17, dtype=np.float32), 24 * 26).reshape(17, 24, 26)
    result = reconstructed(stairs)
    assert "super_resolution" not in result.report.weights
    np.testing.assert_allclose(result.volume.array, stairs, atol=0.5)


def test_thick_slices_are_known_to_be_thick(volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer gets thickness and pitches in mm."""
    trainers: list[Trainer] = []

    def noted(self: Trainer, context: SliceContext, tick: Callable[[int, int, float], None],
              share: float = 1.0) -> None:
        trainers.append(self)

    monkeypatch.setattr(Trainer, "train", noted)
    reconstructed(volume, 2, (0.8, 1.25, 2.5), seed=7)
    assert trainers[0].thickness == pytest.approx(2.5) and trainers[0].pitches == pytest.approx((1.25, 0.8))
    np.testing.assert_allclose(np.diff(trainers[0].positions), 5.0)
    assert trainers[0].seed == 7 and trainers[0].config == FAST.super_resolution
