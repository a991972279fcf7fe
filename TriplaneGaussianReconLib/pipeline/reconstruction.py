"""The pipeline: observations in; dense volume, labels, expected error, model and report out.

The functions stand in the order of the stages, see `config.stages`.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from .. import __version__
from ..config.presets import Preset, preset_named
from ..config.stages import STAGES, stages_of
from ..data.beyond import at_slices, slices_beyond
from ..data.gap_sampling import evenly
from ..data.geometry import Grid, array_axis
from ..data.images import Image, Segmentation
from ..data.model_space import ModelSpaceData
from ..data.observations import Observations
from ..data.probabilities import LabelProbabilities
from ..data.slabs import Slab, plan
from ..data.stack_motion import StackMotion
from ..data.trainable import trains_fusion
from ..errors import InputError
from ..fitting.residual import Residual
from ..fitting.slab import FittedSlab
from ..fitting.slab_fitting import Fitting
from ..fitting.task import Task
from ..label_completion.complete import Completed, complete
from ..label_completion.trained import TrainedLabels
from ..labels.channels import LabelChannels
from ..model.model import IntensityScale, Model
from ..model.shards import ShardStore
from ..prediction.ensemble import EnsembleWeights, fit_ensemble, hidden_slice_task
from ..prediction.expected_error import ExpectedError
from ..prediction.fusion import LearnedFusion, learn_fusion
from ..prediction.hidden_slices import Hiding
from ..prediction.predict import predict
from ..rasterizer.modes import MODES
from ..registration.displacements import Displacements, displacements
from ..registration.optical_flow import Correspondence
from ..rendering.planes import empty_layers
from ..rendering.preview import Preview, Previews
from ..rendering.volume import VolumeRenderer, expected_error_on_grid
from ..runtime.devices import SelectedDevice, choose
from ..runtime.memory import MOST_AT_A_TIME, budget, release, with_less_memory
from ..runtime.progress import Progress, StageMonitor
from ..runtime.threads import serial_opencv, serial_torch
from ..self_supervised.label_super_resolution import LabelSuperResolution, LabelTrainer
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution, Trainer, train_all
from .completion import check_probabilities, is_known, known_volume, put_labels, with_completed
from .report import Provenance, Report, StackResidual
from .self_check import SelfCheck

T = TypeVar("T")

__all__ = ["STAGES", "Memory", "Progress", "Reconstruction", "reconstruct"]


@dataclass(frozen=True)
class Reconstruction:
    """What `reconstruct` returns.

    Attributes:
        volume: Dense image [k, j, i] of the input's voxel type.
        confidence: Expected absolute error of each voxel, float32 [k, j, i], in units of the input.
        segmentation: Dense labels; None without labels.
        model: Draws any plane.
        report: What was done, how long it took, and how far to trust it.
        label_certainty: Probability of each voxel's label, float32 [k, j, i]; None where no labels were filled on
            slices whose image is known.
        label_network: What was learnt about the labels, from which the next run on this scan can start; None likewise.
        label_probabilities: Probability of each segment in each voxel, likewise; None unless it was asked for.
        motions: Of each volume where there are several, as its header has it, to the world of the first.
    """

    volume: Image
    confidence: Image
    segmentation: Segmentation | None
    model: Model
    report: Report
    label_certainty: Image | None = None
    label_network: TrainedLabels | None = None
    label_probabilities: LabelProbabilities | None = None
    motions: tuple[StackMotion, ...] = ()

    def __repr__(self) -> str:
        count = 0 if self.segmentation is None else len(self.segmentation.segments)
        return (f"Reconstruction({self.volume!r}, {count or 'no'} segment{'s' * (count != 1)}, "
                f"{self.model.count} Gaussians)")


@dataclass(frozen=True)
class Memory:
    """What a reconstruction may hold in memory, and where the rest goes.

    Attributes:
        budget: Bytes to plan with on the device; None asks the device, within `limit`.
        keep_model: Whether the model is wanted. If not, its Gaussians are dropped as soon as they have been drawn, and
            none are fitted where every slice of the result is an observed one.
        folder: Where the parts of a model that does not fit into memory are written; None is the system's folder for
            temporary files. They are deleted with the model.
        limit: Bytes of the host that the process may hold at its peak; None for what is free. A GPU's are its own.
    """

    budget: int | None = None
    keep_model: bool = True
    folder: Path | None = None
    limit: int | None = None


def reconstruct(observations: Observations, output_grid: Grid, *, preset: str | Preset = "fast", device: str = "auto",
                seed: int = 0, memory: Memory | None = None, progress: Callable[[Progress], None] | None = None,
                should_stop: Callable[[], bool] | None = None, preview: Callable[[Preview], None] | None = None,
                label_network: TrainedLabels | None = None, label_probabilities: bool = False) -> Reconstruction:
    """Reconstruct a dense volume, and dense labels if there are any, from observed slices.

    First labels are filled on the observed slices that carry none.  What does not fit into memory at once is worked on
    in slabs along the depth axis.

    Args:
        observations: The slices to use.
        output_grid: Voxels of the result. The model does not depend on it, beyond how far it must reach.
        preset: A name from `config.presets.PRESETS`, or a preset of your own.
        device: `auto`, `cpu`, `cuda`, or `cuda:1` and so on; see `runtime.devices.choose`.
        seed: Of the random numbers. The same seed gives the same bits on the CPU.
        memory: What may be held in memory; the defaults of `Memory` if None.
        progress: Called often.
        should_stop: Asked often; true stops the reconstruction.
        preview: Called with a slice in the middle, first as it is predicted, then as it is drawn. The result is the
            same to the last bit with and without it.
        label_network: What an earlier run on this scan learnt about the labels, for which this one then needs seconds.
            One of another image, of other segments or of another preset is not used, of which a warning tells.
        label_probabilities: Whether the probability of each segment is wanted, where labels are filled.

    Raises:
        InputError: The observations cannot be reconstructed, or the preset is unknown or impossible.
        BackendUnavailableError: The device is not there.
        Cancelled: `should_stop` returned true.
    """
    preset = preset_named(preset) if isinstance(preset, str) else preset
    if preset.refinement_steps and not MODES[preset.mode].is_linear:
        raise InputError(f"Refinement needs a mode that is linear in the values, which '{preset.mode}' is not.")
    selected, memory = choose(device), memory or Memory()
    fits = memory.keep_model or not is_known(observations, output_grid)
    if label_probabilities:
        check_probabilities(observations, output_grid)
    fills = observations.stacks[0].labelled is not None
    stages = stages_of(preset, bool(observations.segments), fills, fits, float(np.prod(output_grid.shape, dtype=float)))
    monitor = StageMonitor(progress, should_stop, stages)
    with serial_opencv():
        observed = ModelSpaceData.of(observations, output_grid, preset.model_space, preset.gap_sampling,
                                     fills_all=memory.keep_model)
        completed = None if not fills else _completed(observed, preset, selected, seed, monitor, label_network,
                                                      label_probabilities)
        if completed is not None:
            observed = _with_labels(observed, completed)
        if not fits:
            result = _known(observations, observed, output_grid, preset, selected, seed, monitor)
        else:
            previews = Previews(preview, observed, output_grid) if preview else None
            task = _learn(observed, preset, selected, seed, monitor, previews)
            fitting = Fitting(task, _slabs(task, selected, memory), selected, device == "auto", monitor)
            store = ShardStore(preset.cutoff, keep=memory.keep_model, folder=memory.folder)
            try:
                result = _fit_and_draw(observations, output_grid, fitting, store, monitor, previews)
            except BaseException:
                store.close()
                raise
        return result if completed is None else with_completed(result, completed, observations)


def _completed(observed: ModelSpaceData, preset: Preset, selected: SelectedDevice, seed: int, monitor: StageMonitor,
               start: TrainedLabels | None, probabilities: bool) -> Completed:
    """Fill labels on the slices of the primary stack that carry none."""
    with monitor.stage("label completion") as tick:
        return _on_device_or_cpu(lambda device: complete(observed, preset.label_completion, preset.labels, seed, device,
                                                         tick, start, probabilities), selected.device)


def _with_labels(observed: ModelSpaceData, completed: Completed) -> ModelSpaceData:
    """The same with labels on all slices of the primary stack."""
    primary = replace(observed.stacks[0], layers=completed.layers, labelled=None)
    return replace(observed, stacks=(primary, *observed.stacks[1:]))


def _learn(observed: ModelSpaceData, preset: Preset, selected: SelectedDevice, seed: int, monitor: StageMonitor,
           previews: Previews | None = None) -> Task:
    """Find what is the same for all slabs: displacements between slices, and networks that were trained on them."""
    with displacements(observed.slices, preset.flow) as flows:
        if selected.device.type == "cuda":  # else they would take time from what learns
            _hiding(observed, preset, flows, selected.device).ask_ahead()
        correspondence = _correspondence(observed, flows, monitor)
        super_resolutions, ensemble = _on_device_or_cpu(
            lambda device: _ensemble(observed, preset, seed, flows, device, monitor), selected.device)
    if previews is not None:
        previews.predicted(correspondence, ensemble, super_resolutions, selected.device)

    def without_fusion() -> None:
        warnings.warn("Memory does not suffice to learn which prediction to believe where; went on without.",
                      RuntimeWarning, stacklevel=2)

    fusion = with_less_memory(
        lambda: _fusion(observed, correspondence, ensemble, super_resolutions, preset, seed, selected.device, monitor),
        without_fusion, selected.device)
    release(selected.device)
    label_super_resolutions = _on_device_or_cpu(
        lambda device: _label_super_resolutions(observed, super_resolutions, preset, seed, device, monitor),
        selected.device)
    return Task(observed, correspondence, ensemble if fusion is None else ensemble.with_fusion(), super_resolutions,
                fusion, label_super_resolutions, preset, seed)


def _hiding(observed: ModelSpaceData, preset: Preset, flows: Displacements, device: torch.device) -> Hiding:
    """What hides slices of the primary stack."""
    weights = observed.stacks[0].weights
    return Hiding(observed.slices, observed.planes.offsets, preset.ensemble, flows, device,
                  None if weights is None else weights > 0)


def _correspondence(observed: ModelSpaceData, flows: Displacements, monitor: StageMonitor) -> Correspondence:
    """Find how structures move from each slice to the next, in the gaps that are needed and next to them."""
    slices, near = observed.slices, np.pad(observed.needed, 1)
    gaps = np.flatnonzero(near[:-2] | near[1:-1] | near[2:]).tolist()
    found = Correspondence(np.zeros((len(slices) - 1, *slices.shape[1:], 2), np.float32),
                           np.zeros((len(slices) - 1, *slices.shape[1:]), np.float32))
    with monitor.stage("correspondence") as tick:
        for number, (gap, each) in enumerate(zip(gaps, flows.take(gaps, 1), strict=True)):
            tick(number, len(gaps))
            found.displacement[gap], found.confidence[gap] = each.displacement[0], each.confidence[0]
    return found


def _ensemble(observed: ModelSpaceData, preset: Preset, seed: int, flows: Displacements, device: torch.device,
              monitor: StageMonitor) -> tuple[dict[int, SuperResolution], EnsembleWeights]:
    """Train a network for each number of planes in a gap on lines within the slices, and weigh the interpolators."""
    slices, offsets = observed.slices, observed.planes.offsets
    trainer, hidden, super_resolutions = None, None, dict[int, SuperResolution]()
    if preset.super_resolution is not None:
        counts = observed.plane_counts
        different = np.unique(counts[observed.needed]).tolist()
        trainer = Trainer(torch.from_numpy(slices).to(device), offsets, observed.pitches, observed.thickness,
                          preset.super_resolution, seed)
        training_tasks = [(trainer.context(np.flatnonzero(counts == count), evenly(count)), 1.0) for count in different]
        if any(len(trainer.only_trainable(context).planes) for context, _ in training_tasks):
            training_tasks.append(hidden_slice_task(trainer, preset.ensemble))  # else there is nothing to judge
        with monitor.stage("learning") as tick:
            trained = train_all(trainer, training_tasks, tick)
        hidden = trained[-1] if trained else None
        super_resolutions = {count: network for count, network in zip(different, trained, strict=False)
                             if network is not None}
    with monitor.stage("arbitration") as tick:
        ensemble = fit_ensemble(_hiding(observed, preset, flows, device), lambda done: tick(round(100 * done), 100),
                                trainer if super_resolutions else None, hidden if super_resolutions else None)
    return super_resolutions, ensemble


def _fusion(observed: ModelSpaceData, correspondence: Correspondence, ensemble: EnsembleWeights,
            super_resolutions: Mapping[int, SuperResolution], preset: Preset, seed: int, device: torch.device,
            monitor: StageMonitor) -> LearnedFusion | None:
    """Train a network that weighs the predictions pixel by pixel; None where the preset or the slices allow none."""
    planes = observed.planes
    if preset.fusion is None:
        return None
    with monitor.stage("fusion") as tick:
        counts = np.unique(observed.plane_counts).tolist()
        if counts != list(super_resolutions) or len(counts) > 1 or not trains_fusion(
                planes.rows, planes.columns, observed.pitches, planes.offsets, counts[0], observed.thickness,
                preset.fusion, preset.flow):
            return None
        (count, network), = super_resolutions.items()
        predictions = predict(planes, observed.slices, observed.plane_counts, correspondence, ensemble,
                              lambda done: tick(round(10 * done), 100), device, super_resolutions)
        slices = torch.from_numpy(observed.slices).to(device)
        dense = torch.cat([slices[:-1, None], torch.stack([p.images for p in predictions])], dim=1).flatten(0, 1)
        pitch = float(np.diff(planes.offsets).mean()) / (count + 1)
        return learn_fusion(torch.cat([dense, slices[-1:]]), count + 1, (pitch, *observed.pitches), network.on(device),
                            preset.fusion, preset.flow, preset.ensemble.smoothing, seed,
                            lambda step, steps, loss: tick(steps + 9 * step, 10 * steps, loss))


def _label_super_resolutions(observed: ModelSpaceData, super_resolutions: Mapping[int, SuperResolution], preset: Preset,
                             seed: int, device: torch.device, monitor: StageMonitor
                             ) -> dict[int, LabelSuperResolution]:
    """Train networks on the labels of lines within the slices, one for each number of planes in a gap."""
    layers, offsets, trained = observed.stacks[0].layers, observed.planes.offsets, dict[int, LabelSuperResolution]()
    if preset.label_super_resolution is None or layers is None:
        return trained
    with monitor.stage("labels") as tick, serial_torch():
        if not super_resolutions:
            return trained
        counts = observed.plane_counts
        trainer = LabelTrainer(torch.from_numpy(observed.slices).to(device), layers, LabelChannels(observed.segments),
                               observed.pitches, observed.thickness, preset.label_super_resolution, seed)
        for number, (count, super_resolution) in enumerate(super_resolutions.items()):
            def note(step: int, steps: int, loss: float, done: int = number) -> None:
                tick(done * steps + step, len(super_resolutions) * steps, loss)

            gaps = np.flatnonzero(counts == count)
            context = SliceContext.around(gaps, offsets, evenly(count), super_resolution.size)
            network = trainer.train(context, super_resolution.on(device), note)
            if network is not None:
                trained[count] = network
    return trained


def _on_device_or_cpu(work: Callable[[torch.device], T], device: torch.device) -> T:
    """Work on the device, or on the CPU where a GPU has too little memory for it."""
    if device.type == "cpu":
        return work(device)
    return with_less_memory(lambda: work(device), lambda: work(torch.device("cpu")), device)


def _slabs(task: Task, selected: SelectedDevice, memory: Memory) -> list[Slab]:
    """Cut the gaps into as many slabs as fit into memory one by one."""
    gap_bytes = task.gap_bytes()
    if not task.can_be_cut:
        return [Slab(0, len(gap_bytes), len(gap_bytes))]
    if memory.budget is not None:
        return plan(gap_bytes, memory.budget)
    return plan(gap_bytes, min(budget(selected.device, memory.limit), MOST_AT_A_TIME))


def _known(observations: Observations, observed: ModelSpaceData, grid: Grid, preset: Preset, selected: SelectedDevice,
           seed: int, monitor: StageMonitor) -> Reconstruction:
    """The result where all of its slices are observed ones, which need no fitting."""
    volume, stack = known_volume(observations, grid), observed.stacks[0]
    segmentation, labels = None, empty_layers(observations.segments, grid.shape)
    if labels is not None:
        assert stack.layers is not None, "there are segments"
        put_labels(labels, stack.layers, observations, grid)
        segmentation = Segmentation(labels, observations.segments, grid)
    check = SelfCheck(1.0, "Every slice of the result is one of the used slices: nothing was predicted.")
    provenance = Provenance(__version__, preset.name, seed, selected.backend, len(observed.planes), check)
    exact = replace(Residual(), pixels=1, labels=int(segmentation is not None), agreeing=int(segmentation is not None))
    report = Report(provenance, selected.note, 1, 0, len(observations.segments), {},
                    tuple(_stack_residual(exact, observed.intensity) for _ in observed.stacks), monitor.seconds,
                    monitor.losses)
    model = replace(_blank_model(observations, observed, preset), provenance=provenance.to_json())
    return _marked(observations, grid, Reconstruction(
        Image(volume, grid, observations.padding), Image(np.zeros(grid.shape, np.float32), grid), segmentation, model,
        report))


def _fit_and_draw(observations: Observations, output_grid: Grid, fitting: Fitting, store: ShardStore,
                  monitor: StageMonitor, previews: Previews | None = None) -> Reconstruction:
    """Fit slab after slab, and draw each plane of the output as soon as all Gaussians that reach it are known."""
    task = fitting.task
    model = _blank_model(observations, task.observed, task.preset)
    volume_renderer = VolumeRenderer(model, output_grid, observations.dtype)
    errors, residuals = [], [Residual()] * len(observations.stacks)
    for number, fitted in enumerate(fitting.fitted()):
        errors.append(fitted.error)
        residuals = [total + more for total, more in zip(residuals, fitted.residuals, strict=True)]
        _draw(fitted, number, volume_renderer, fitting, store, monitor)
        if previews is not None:
            previews.drawn(volume_renderer)
        if len(fitting.slabs) > 1:
            store.evict(volume_renderer.needs)
    report = _report(fitting, observations, sum(shard.count for shard in store.shards), residuals, monitor)
    model = replace(model, shards=store.finish(), expected_error=_expected_error(task, errors, residuals[0]),
                    provenance=report.provenance.to_json())
    confidence = _on_device_or_cpu(lambda device: expected_error_on_grid(model, output_grid, device),
                                   fitting.chosen.device)
    return _marked(observations, output_grid, Reconstruction(
        Image(volume_renderer.volume, output_grid, observations.padding), Image(confidence, output_grid),
        None if volume_renderer.layers is None else
        Segmentation(volume_renderer.layers, observations.segments, output_grid), model, report))


def _marked(observations: Observations, grid: Grid, result: Reconstruction) -> Reconstruction:
    """Mark what nothing was seen of: beyond the outermost slices, and where the slices hold no data."""
    axis, beyond = slices_beyond(observations.stacks[0], grid)
    lowest, highest = observations.intensity_range
    result.confidence.array[at_slices(result.confidence.array, axis, beyond)] = highest - lowest
    if result.segmentation is not None:
        result.segmentation.layers[at_slices(result.segmentation.layers, axis, beyond)] = 0
    mask = observations.mask
    if mask is not None and observations.padding is not None:
        planes = grid.planes(axis, np.arange(grid.count(axis)))
        for number, (image, error) in enumerate(zip(*(np.moveaxis(each.array, array_axis(axis), 0)
                                                      for each in (result.volume, result.confidence)), strict=True)):
            missing = ~mask.at(planes.subset(slice(number, number + 1)).points()[0])
            image[missing], error[missing] = observations.padding, highest - lowest
    return result


def _draw(fitted: FittedSlab, number: int, volume_renderer: VolumeRenderer, fitting: Fitting, store: ShardStore,
          monitor: StageMonitor) -> None:
    """Store the Gaussians of slab `number`, and draw the planes that no later slab reaches."""
    while fitted.clouds:  # the store is to be the only one that holds them
        store.add(fitted.clouds.pop(0))
    with monitor.stage("rendering", number, len(fitting.slabs)) as tick:
        volume_renderer.advance(store.shards, fitted.complete_below, fitting.chosen.backend, fitting.chosen.device,
                                tick)


def _blank_model(observations: Observations, observed: ModelSpaceData, preset: Preset) -> Model:
    """The model before it has any Gaussian."""
    planes = observed.planes
    unknown = ExpectedError(np.zeros((len(planes) - 1, 1, 1), np.float32), planes.offsets, np.zeros(2), np.ones(2), 0.0)
    return Model((), observed.frame, preset.mode, preset.cutoff, observed.intensity, unknown,
                 observations.segments)


def _expected_error(task: Task, errors: Sequence[np.ndarray], residual: Residual) -> ExpectedError:
    """Put together the expected errors [gap, coarse row, coarse column] of all slabs."""
    planes = task.observed.planes
    pixel = np.array([np.linalg.norm(planes.column_step), np.linalg.norm(planes.row_step)])
    return ExpectedError.from_coarse(np.concatenate(errors), planes.shape[1:], planes.offsets, pixel,
                                     residual.absolute / residual.pixels)


def _report(fitting: Fitting, observations: Observations, gaussians: int, residuals: Sequence[Residual],
            monitor: StageMonitor) -> Report:
    """What is to be told of a reconstruction that is done."""
    task, selected = fitting.task, fitting.chosen
    provenance = Provenance(__version__, task.preset.name, task.seed, selected.backend, len(task.observed.planes),
                            SelfCheck.of(task.ensemble.band, task.ensemble.hidden, task.ensemble.rank_correlation))
    return Report(provenance, selected.note, len(fitting.slabs), gaussians, len(observations.segments),
                  task.ensemble.named_weights,
                  tuple(_stack_residual(residual, task.observed.intensity) for residual in residuals),
                  monitor.seconds, monitor.losses, tuple(fitting.notes))


def _stack_residual(residual: Residual, intensity: IntensityScale) -> StackResidual:
    """Turn sums over the pixels of a stack into means."""
    squared = residual.squared / residual.pixels / intensity.scale ** 2
    return StackResidual(residual.absolute / residual.pixels, residual.largest,
                         round(float(-10.0 * np.log10(max(squared, 1e-10))), 2),
                         residual.agreeing / residual.labels if residual.labels else None)
