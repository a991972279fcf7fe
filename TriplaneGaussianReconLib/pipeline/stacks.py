"""The pipeline for several volumes of one body: how they lie, one solve for all, and what a result tells.

What is solved for are the values of Gaussians on a lattice of cubic voxels, seen through the profile of every slice.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..config.names import MOTIONS, Backend
from ..config.presets import Preset, preset_named
from ..config.stages import STACK_STAGES
from ..data.geometry import Grid, by
from ..data.images import Image, Segmentation
from ..data.intensity import IntensityScale
from ..data.observations import Observations, SliceStack
from ..data.output_grid import is_cubic, meant_grid, union_grid
from ..data.stack_motion import StackMotion
from ..errors import InputError, TooLargeError
from ..fitting.hidden_pixels import HiddenPixels
from ..fitting.stack_restoration import Restoration, learn, seen_again, turned
from ..fitting.stack_solve import gap_errors, is_seen_by, mean_of, neighbour_differences, solve
from ..fitting.stack_view import SeenStack, Sight, profile_of, view
from ..gaussians.lattice import Lattice
from ..labels.channels import LabelChannels
from ..labels.stack_labels import labels_of_stacks
from ..model.model import Model
from ..model.shards import ShardStore
from ..prediction.expected_error import ExpectedError
from ..registration.stacks import register_stacks
from ..rendering.volume import VolumeRenderer, expected_error_on_grid
from ..runtime.devices import SelectedDevice, choose
from ..runtime.memory import budget, stacks_bytes
from ..runtime.progress import Progress, StageMonitor, Tick
from ..runtime.threads import serial_opencv, serial_torch
from .reconstruction import Reconstruction
from .report import Provenance, Report, StackResidual
from .self_check import SelfCheck
from .stack_report import HiddenPixelReport

_MODE = "normalised"
_MISFIT = 3.0  # times more or less contrast than a stack has itself, from which it is told


def reconstruct_stacks(observations: Observations, output: Grid | float, *, preset: str | Preset = "fast",
                       device: str = "auto", seed: int = 0, motion: str = "stack",
                       limit: int | None = None, progress: Callable[[Progress], None] | None = None,
                       should_stop: Callable[[], bool] | None = None) -> Reconstruction:
    """Reconstruct one dense volume, and dense labels if there are any, from several stacks of one body.

    Args:
        observations: The stacks; the first one's place and grey values are those of the result.
        output: Voxels of the result; or mm, the side of cubic ones about all stacks where they are found to lie.
        preset: A name from `config.presets.PRESETS`, or a preset of your own.
        device: See `runtime.devices.choose`.
        seed: Of the random numbers. The same seed gives the same bits on the CPU.
        motion: `stack` finds a rigid motion, gain and bias for each further stack; `none` takes them as they lie.
        limit: Bytes of the host that the process may hold at its peak; None for what is free. A GPU's are its own.
        progress: Called often.
        should_stop: Asked often; true stops the reconstruction.

    Raises:
        InputError: The observations cannot be reconstructed, the preset or the kind of motion is unknown, or the seed
            is negative.
        TooLargeError: There is not enough memory.
        BackendUnavailableError: The device is not there.
        Cancelled: `should_stop` returned true.
    """
    if motion not in MOTIONS:
        raise InputError(f"Unknown kind of motion '{motion}'. Choose {' or '.join(MOTIONS)}.")
    if seed < 0:
        raise InputError(f"The seed must be a whole number from 0 on, not {seed}.")
    preset = preset_named(preset) if isinstance(preset, str) else preset
    observations = observations.trimmed()
    selected, moves = choose(device), motion == "stack" and len(observations.stacks) > 1
    monitor = StageMonitor(progress, should_stop, [stage for stage in STACK_STAGES if moves or stage.name != "motion"])
    with serial_opencv():
        motions = [StackMotion()] * len(observations.stacks)
        if moves:
            with monitor.stage("motion") as tick:
                motions = register_stacks(observations.stacks, seed=seed, tick=tick)
        placed = replace(observations, stacks=_placed(observations.stacks, motions))
        grid = meant_grid(placed, output)
        lattice = grid if is_cubic(grid) else union_grid(placed)
        problem = _Problem.of(observations, motions, lattice, preset, selected, seed)
        problem.check_memory(limit)
        misfits = tuple(_misfits(observations.stacks, motions))
        with monitor.stage("stacks") as tick, serial_torch():
            solution = problem.solved(tick)
        notes = (*misfits, *solution.hidden.doubts)
        for each in notes:
            warnings.warn(each, RuntimeWarning, stacklevel=2)
        result = _result(problem, solution, grid, selected, monitor)
    return replace(result, report=replace(result.report, notes=notes))


def _misfits(stacks: Sequence[SliceStack], motions: Sequence[StackMotion]) -> Iterator[str]:
    """Tell which stacks hardly show the body of the first: their contrast there would be far from their own."""
    first = _contrast(stacks[0])
    for number, (stack, motion) in enumerate(zip(stacks[1:], motions[1:], strict=True), start=2):
        own, expected = _contrast(stack), motion.gain * first
        if motion.gain != 1.0 and not own / _MISFIT < expected < own * _MISFIT:
            yield (f"Volume {number} hardly fits the first: its grey values would agree with a gain of "
                   f"{motion.gain:.3g} alone. Check that both show the same body in the same contrast.")


def _placed(stacks: Sequence[SliceStack], motions: Sequence[StackMotion]) -> tuple[SliceStack, ...]:
    """The stacks where they lie in the world of the first."""
    return tuple(replace(stack, planes=motion.placed(stack.planes)) for stack, motion in
                 zip(stacks, motions, strict=True))


def _contrast(stack: SliceStack) -> float:
    """Standard deviation of the pixels that weigh something."""
    return float(np.std(stack.pixels if stack.weights is None else stack.pixels[stack.weights > 0]))


@dataclass(frozen=True)
class _Solution:
    """values: [k, j, i] of the Gaussians.  error: likewise, expected absolute error, model units.  is_seen: likewise.
    sights: of each stack.  hidden: what hidden pixels chose.
    """

    values: Tensor
    error: np.ndarray
    is_seen: np.ndarray
    sights: list[Sight]
    hidden: HiddenPixelReport


class _Counted:
    """Reports how many steps of all parts of a stage are done."""

    def __init__(self, tick: Tick, total: int) -> None:
        self._tick, self._done, self._total = tick, 0, total

    def __call__(self, step: int, steps: int, loss: float | None = None, /) -> None:
        self._done += 1
        self._tick(min(self._done, self._total), self._total)


@dataclass(frozen=True)
class _Problem:
    """What is solved, in the frame of the lattice.

    Attributes:
        observations: The stacks.
        motions: Of each.
        grid: Voxels of the lattice.
        lattice: Its Gaussians.
        intensity: Between the model's units and those of the input.
        preset, device, seed: As they were chosen.
    """

    observations: Observations
    motions: Sequence[StackMotion]
    grid: Grid
    lattice: Lattice
    intensity: IntensityScale
    preset: Preset
    device: torch.device
    seed: int

    @classmethod
    def of(cls, observations: Observations, motions: Sequence[StackMotion], grid: Grid, preset: Preset,
           selected: SelectedDevice, seed: int) -> _Problem:
        """Put Gaussians on the voxels of `grid`, which are cubic."""
        config, pitch = preset.stacks, float(min(grid.spacing))
        intensity = IntensityScale.of([observations.stacks[0].pixels], preset.model_space.robust_percentile,
                                      [observations.stacks[0].weights])
        lowest, highest = observations.intensity_range
        return cls(observations, motions, grid, Lattice(grid.shape, pitch, config.sigma * pitch, config.cutoff),
                   replace(intensity, lowest=lowest, highest=highest), preset, selected.device, seed)

    def check_memory(self, limit: int | None) -> None:
        """Raise TooLargeError where the solution would not fit into memory; limit: see `runtime.memory.budget`."""
        lattice = self.lattice
        entries = sum(stack.pixels.size * profile_of(stack, lattice.pitch).entries(
            lattice.pitch, lattice.sigma, lattice.cutoff) for stack in self.observations.stacks)
        wanted = stacks_bytes(entries, float(np.prod(lattice.shape)), self.device.type == "cpu")
        free = budget(self.device, limit)
        if wanted > free:
            raise TooLargeError(f"The result of {by(self.grid.size)} voxels needs {wanted / 1e9:.3g} GB of memory, and "
                                f"{free / 1e9:.3g} GB may be used. Choose larger voxels, or crop the volumes.")

    def solved(self, tick: Tick) -> _Solution:
        """Find what all stacks saw."""
        config, counted = self.preset.stacks, _Counted(tick, self.preset.stacks.steps)
        sights = self._sights()
        hidden, is_seen = HiddenPixels.of(sights, config.hidden, self.seed), is_seen_by(sights)
        smoothness = self._chosen_smoothness(hidden, self._smoothness(sights, is_seen), counted)
        restoration = learn(sights, smoothness, is_seen, config, self.seed, counted)
        trust, missed = self._chosen_trust(hidden, restoration, counted)
        values = restoration.closed(sights, restoration.of(sights, counted), trust, config.final, counted)
        lost, times_expected = self._expected_error(hidden, restoration, values, is_seen, trust, missed, counted)
        error = np.maximum(lost, gap_errors(sights, config.blur).cpu().numpy())
        chosen = HiddenPixelReport.of(smoothness, trust, config.hidden, missed, times_expected, self.intensity.scale)
        return _Solution(torch.where(is_seen, values, 0.0), error, is_seen.cpu().numpy(), sights, chosen)

    def _sights(self) -> list[Sight]:
        """What each stack sees of the lattice from where it lies."""
        return [Sight.of(view(self._seen(stack, motion), self.lattice, self._backend)) for stack, motion in
                zip(self.observations.stacks, self.motions, strict=True)]

    @property
    def _backend(self) -> Backend:
        return "cuda" if self.device.type == "cuda" else "cpu"

    def _seen(self, stack: SliceStack, motion: StackMotion) -> SeenStack:
        pixels = self.intensity.to_model(((stack.pixels - motion.bias) / motion.gain).astype(stack.pixels.dtype))
        image = torch.from_numpy(pixels - np.float32(self.intensity.background)).to(self.device)
        weights = torch.ones_like(image) if stack.weights is None else torch.from_numpy(stack.weights).to(self.device)
        return SeenStack(motion.placed(stack.planes).transformed(np.linalg.inv(self.grid.frame)), image, weights,
                         profile_of(stack, self.lattice.pitch))

    def _smoothness(self, sights: Sequence[Sight], is_seen: Tensor) -> list[float]:
        """Weights to choose from.  The first would be likeliest for the noise that the slices seem to have, if
        differences between neighbours fell off exponentially; but fine detail may look like noise.
        """
        config = self.preset.stacks.smoothness
        variance = float(np.mean([each.noise ** 2 for each in sights]))
        step = float(neighbour_differences(mean_of(sights), is_seen).mean())
        return [max(share * variance / (max(step, 1e-6) * config.edge), config.least) for share in config.shares]

    def _chosen_smoothness(self, hidden: HiddenPixels, weights: Sequence[float], tick: Tick) -> float:
        """The largest weight with which pixels that were hidden are found about as well as with the best."""
        config, shown = self.preset.stacks, hidden.shown()
        start = mean_of(shown)
        errors = {each: hidden.error(solve(shown, start, each, config.smoothness.edge, config.tried, tick))
                  for each in set(weights)}
        return max(each for each, error in errors.items() if error <= config.smoothness.alike * min(errors.values()))

    def _chosen_trust(self, hidden: HiddenPixels, restoration: Restoration, tick: Tick) -> tuple[float, float]:
        """The trust in what the network finds with which pixels that were hidden are found best, and their mean squared
        error then.  Of several that do as well it is the least: what was seen is kept, and the network fills the rest.
        """
        config, shown = self.preset.stacks, hidden.shown()
        found = restoration.of(shown, tick)
        missed = {trust: hidden.error(restoration.closed(shown, found, trust, config.tried, tick))
                  for trust in config.trusts}
        chosen = min(trust for trust, error in missed.items() if error <= config.alike * min(missed.values()))
        return chosen, missed[chosen]

    def _expected_error(self, hidden: HiddenPixels, restoration: Restoration, values: Tensor, is_seen: Tensor,
                        trust: float, missed: float, tick: Tick) -> tuple[np.ndarray, float]:
        """What is lost when the same stacks see the solution, with noise of their own, and it is solved for again
        (parametric bootstrap: Efron, Annals of Statistics 7, 1979).

        The solution lacks what the stacks could not see, so less is lost of it than of the body.  Turned, it has detail
        where they are blind; and pixels that were hidden tell what else was not thought of, such as motion.  It is
        scaled by the larger of both.

        missed: mean squared error of hidden pixels of the stacks themselves.

        Returns:
            [k, j, i] model units; and how many times the bootstrap's error hidden pixels are missed by.
        """
        from scipy.ndimage import gaussian_filter

        config, sights, random = self.preset.stacks, hidden.sights, np.random.default_rng(self.seed + 1)

        def found(seen: Sequence[Sight], steps: tuple[int, int]) -> Tensor:
            return restoration.closed(seen, restoration.of(seen, tick), trust, steps, tick)

        again, truth = replace(hidden, sights=seen_again(sights, values, random)), turned(sights, values, random)
        lost = self.lattice.drawn(found(again.sights, config.final) - values).abs()
        lost_of_turned = self.lattice.drawn(found(seen_again(sights, truth, random), config.final) - truth).abs()
        times_expected = (missed / max(again.error(found(again.shown(), config.tried)), 1e-12)) ** 0.5
        blind = float(lost_of_turned[is_seen].mean() / lost[is_seen].mean().clamp(min=1e-12))
        blurred: np.ndarray = gaussian_filter(lost.cpu().numpy(), config.blur)
        return blurred * max(times_expected, blind, 1.0), times_expected


def _result(problem: _Problem, solution: _Solution, output: Grid, selected: SelectedDevice, monitor: StageMonitor
            ) -> Reconstruction:
    """Draw the volume, and tell what was done."""
    observations, intensity, preset = problem.observations, problem.intensity, problem.preset
    parameters = problem.lattice.parameters(solution.values)
    channels = LabelChannels(observations.segments)
    if observations.segments:
        layers = labels_of_stacks(_placed(observations.stacks, problem.motions), channels, preset.labels,
                                  problem.grid, solution.is_seen)
        parameters = problem.lattice.with_labels(parameters, torch.from_numpy(layers).to(problem.device))
    store = ShardStore(problem.lattice.cutoff, keep=True, folder=None)
    store.add(parameters.to("cpu"))
    check = SelfCheck(1.0, solution.hidden.found)
    slices = sum(len(stack.planes) for stack in observations.stacks)
    provenance = Provenance(__version__, preset.name, problem.seed, selected.backend, slices, check,
                            hidden_pixels=solution.hidden)
    model = Model((), problem.grid.frame, _MODE, problem.lattice.cutoff, intensity, _error_of(problem, solution),
                  observations.segments, provenance.to_json())
    renderer = VolumeRenderer(model, output, observations.dtype)
    with monitor.stage("rendering") as tick:
        renderer.advance(store.shards, np.inf, selected.backend, selected.device, tick)
    model = replace(model, shards=store.finish())
    confidence = expected_error_on_grid(model, output, selected.device)
    report = Report(provenance, selected.note, 1, model.count, len(observations.segments), {},
                    tuple(_residual(problem, each, solution.values) for each in solution.sights), monitor.seconds,
                    monitor.losses)
    segmentation = None if renderer.layers is None else Segmentation(renderer.layers, observations.segments, output)
    return Reconstruction(Image(renderer.volume, output, observations.padding), Image(confidence, output),
                          segmentation, model, report, motions=tuple(problem.motions))


def _error_of(problem: _Problem, solution: _Solution) -> ExpectedError:
    """The expected error as the model keeps it: exact on the planes of the lattice; the whole range where nothing was
    seen.
    """
    lowest, highest = problem.observations.intensity_range
    error = np.where(solution.is_seen, solution.error * problem.intensity.scale, highest - lowest).astype(np.float32)
    offsets = (np.arange(len(error) + 1) - 0.5) * problem.lattice.pitch
    return ExpectedError(error, offsets, np.zeros(2), np.full(2, problem.lattice.pitch), 0.0)


def _residual(problem: _Problem, of: Sight, values: Tensor) -> StackResidual:
    """How exactly the solution, seen through the profile, reproduces a stack."""
    left = (of.weights * (of.view.seen(values) - of.image)).abs().cpu().numpy() * problem.intensity.scale
    pixels = max(float((of.weights > 0).sum()), 1.0)
    squared = float((left ** 2).sum()) / pixels / problem.intensity.scale ** 2
    return StackResidual(float(left.sum()) / pixels, float(left.max()),
                         round(float(-10.0 * np.log10(max(squared, 1e-10))), 2), None)
