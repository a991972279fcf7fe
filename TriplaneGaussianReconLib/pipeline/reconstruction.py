"""The pipeline: observations in, dense volume, labels, confidence and model out."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from .. import __version__
from ..config.presets import Preset, preset_named
from ..data.gap_sampling import evenly
from ..data.geometry import Grid
from ..data.images import Image, Segmentation
from ..data.model_space import ModelSpaceData
from ..data.observations import Observations
from ..data.slabs import Slab, plan
from ..errors import InputError
from ..fitting.slab_fitting import Fitting, Residual, Task
from ..labels.channels import LabelChannels
from ..model.model import IntensityScale, Model
from ..model.shards import ShardStore
from ..prediction.ensemble import EnsembleWeights, fit_ensemble, hidden_slice_task
from ..prediction.expected_error import ExpectedError
from ..prediction.fusion import LearnedFusion, learn_fusion
from ..prediction.fusion import applies as fusion_applies
from ..prediction.predict import predict
from ..rasterizer.modes import MODES
from ..registration.optical_flow import Correspondence, correspond
from ..rendering.preview import Preview, Previews
from ..rendering.rendering import VolumeRenderer, expected_error_on_grid
from ..runtime.devices import SelectedDevice, choose
from ..runtime.memory import budget, is_lack, release
from ..runtime.progress import STAGES, Progress, Run
from ..runtime.threads import serial_opencv, serial_torch
from ..self_supervised.label_super_resolution import LabelSuperResolution, LabelTrainer
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution, Trainer, train_all

T = TypeVar("T")

__all__ = ["STAGES", "Progress", "Reconstruction", "reconstruct"]

_GAPS_AT_A_TIME = 32  # of which the displacement is found before should_stop is asked again


@dataclass(frozen=True)
class Reconstruction:
    """What `reconstruct` returns.

    volume: dense image, the input's voxel type.  confidence: expected absolute error, float32, input units.
    segmentation: dense labels, None without labels.  model: draws any plane.  report: JSON-compatible.
    """

    volume: Image
    confidence: Image
    segmentation: Segmentation | None
    model: Model
    report: dict[str, Any]


@dataclass(frozen=True)
class Memory:
    """What a reconstruction may hold in memory, and where the rest goes.

    budget: bytes to plan with on the device; None asks the device.
    keep_model: whether the model is wanted.  If not, its Gaussians are forgotten as soon as they have been drawn.
    folder: where a model that is too large for memory is put aside; None is the system's folder for temporary files.
        What was put aside is deleted with the model.
    """

    budget: int | None = None
    keep_model: bool = True
    folder: Path | None = None


def reconstruct(observations: Observations, output_grid: Grid, *, preset: str | Preset = "fast", device: str = "auto",
                seed: int = 0, memory: Memory | None = None, progress: Callable[[Progress], None] | None = None,
                should_stop: Callable[[], bool] | None = None, preview: Callable[[Preview], None] | None = None
                ) -> Reconstruction:
    """Reconstruct a dense volume, and dense labels if there are any, from trusted slices.

    output_grid: where the result is wanted; the model itself does not depend on it beyond how far it must reach.
    preset: a name from `presets.PRESETS`, or a Preset.  device: auto, cpu or cuda.  seed: the same seed gives the same
    bits on the CPU.  progress: called often with a Progress.  should_stop: asked often; true raises Cancelled.
    preview: called with a slice in the middle, first as it is expected, then as it is drawn; changes no bit.

    What does not fit into memory at once is worked on in slabs along the depth axis.

    Raises InputError for what cannot be reconstructed, BackendUnavailableError for a device that is not there.
    """
    preset = preset_named(preset) if isinstance(preset, str) else preset
    if preset.refinement_steps and not MODES[preset.mode].is_linear:
        raise InputError(f"Refinement needs a mode that is linear in the values, which '{preset.mode}' is not.")
    chosen, memory = choose(device), memory or Memory()
    run = Run(progress, should_stop, _skipped(preset, bool(observations.segments)))
    with serial_opencv():
        trusted = ModelSpaceData.of(observations, output_grid, preset.gap_sampling)
        previews = Previews(preview, trusted, output_grid) if preview else None
        task = _task(trusted, preset, chosen, seed, run, previews)
        fitting = Fitting(task, _slabs(task, chosen, memory), chosen, device == "auto", run)
        store = ShardStore(preset.cutoff, keep=memory.keep_model, folder=memory.folder)
        try:
            return _reconstruct(observations, output_grid, fitting, store, run, previews)
        except BaseException:
            store.close()
            raise


def _skipped(preset: Preset, has_labels: bool) -> set[str]:
    """The stages that do without."""
    unwanted = {"learning": preset.super_resolution is None, "fusion": preset.fusion is None,
                "labels": preset.label_super_resolution is None or not has_labels}
    return {stage for stage, is_unwanted in unwanted.items() if is_unwanted}


def _task(trusted: ModelSpaceData, preset: Preset, chosen: SelectedDevice, seed: int, run: Run,
          previews: Previews | None = None) -> Task:
    """What all trusted slices together teach: how structures move between them, and which candidate to believe."""
    slices = trusted.slices
    found = Correspondence(np.empty((len(slices) - 1, *slices.shape[1:], 2), np.float32),
                           np.empty((len(slices) - 1, *slices.shape[1:]), np.float32))
    with run.stage("correspondence") as tick:
        for first in range(0, len(slices) - 1, _GAPS_AT_A_TIME):
            tick(first, len(slices) - 1)
            some = correspond(np.clip(slices[first:first + _GAPS_AT_A_TIME + 1], 0.0, 1.0), preset.flow)
            found.displacement[first:first + _GAPS_AT_A_TIME] = some.displacement
            found.confidence[first:first + _GAPS_AT_A_TIME] = some.confidence
    priors, ensemble = _on_device_or_cpu(lambda device: _learnt(trusted, preset, seed, device, run), chosen.device)
    if previews is not None:
        previews.predicted(found, ensemble, priors, chosen.device)
    fusion = None
    try:
        fusion = _fusion(trusted, found, ensemble, priors, preset, seed, chosen.device, run)
    except (MemoryError, RuntimeError) as error:
        if not is_lack(error):
            raise
        warnings.warn("Memory does not suffice to learn which prediction to believe where; went on without.",
                      RuntimeWarning, stacklevel=2)
    release(chosen.device)
    label_priors = _on_device_or_cpu(lambda device: _label_priors(trusted, priors, preset, seed, device, run),
                                     chosen.device)
    return Task(trusted, found, ensemble if fusion is None else ensemble.with_fusion(), priors, fusion,
                label_priors, preset, seed)


def _learnt(trusted: ModelSpaceData, preset: Preset, seed: int, device: torch.device, run: Run
            ) -> tuple[dict[int, SuperResolution], EnsembleWeights]:
    """What lines within the slices teach, by the number of planes in a gap, and which candidate to believe."""
    slices, offsets = trusted.slices, trusted.planes.offsets
    trainer, hidden, priors = None, None, dict[int, SuperResolution]()
    if preset.super_resolution is not None:
        counts = trusted.plane_counts
        different = np.unique(counts).tolist()
        trainer = Trainer(torch.from_numpy(slices).to(device), offsets, trusted.pitches, trusted.thickness,
                          preset.super_resolution, seed)
        training_tasks = [(trainer.context(np.flatnonzero(counts == count), evenly(count)), 1.0) for count in different]
        if any(len(trainer.only_trainable(context).planes) for context, _ in training_tasks):
            training_tasks.append(hidden_slice_task(trainer, preset.ensemble))  # else there is nothing to judge
        with run.stage("learning") as tick:
            trained = train_all(trainer, training_tasks, tick)
        hidden = trained[-1]
        priors = {count: prior for count, prior in zip(different, trained, strict=False) if prior is not None}
    with run.stage("arbitration") as tick:
        ensemble = fit_ensemble(slices, offsets, preset.ensemble, preset.flow,
                                lambda done: tick(round(100 * done), 100), device, trainer if priors else None,
                                hidden if priors else None)
    return priors, ensemble


def _fusion(trusted: ModelSpaceData, found: Correspondence, ensemble: EnsembleWeights,
            priors: Mapping[int, SuperResolution], preset: Preset, seed: int, device: torch.device, run: Run
            ) -> LearnedFusion | None:
    """What virtual stacks teach about which prediction to believe where; None if nothing."""
    planes = trusted.planes
    if preset.fusion is None:
        return None
    with run.stage("fusion") as tick:
        counts = np.unique(trusted.plane_counts).tolist()
        if counts != list(priors) or len(counts) > 1 or not fusion_applies(
                planes.rows, planes.columns, trusted.pitches, planes.offsets, counts[0], trusted.thickness,
                preset.fusion, preset.flow):
            return None
        (count, prior), = priors.items()
        predictions = predict(planes, trusted.slices, trusted.plane_counts, found, ensemble,
                              lambda done: tick(round(10 * done), 100), device, priors)
        slices = torch.from_numpy(trusted.slices).to(device)
        dense = torch.cat([slices[:-1, None], torch.stack([p.images for p in predictions])], dim=1).flatten(0, 1)
        pitch = float(np.diff(planes.offsets).mean()) / (count + 1)
        return learn_fusion(torch.cat([dense, slices[-1:]]), count + 1, (pitch, *trusted.pitches), prior.on(device),
                            preset.fusion, preset.flow, preset.ensemble.smoothing, seed,
                            lambda step, steps, loss: tick(steps + 9 * step, 10 * steps, loss))


def _label_priors(trusted: ModelSpaceData, priors: Mapping[int, SuperResolution], preset: Preset, seed: int,
                  device: torch.device, run: Run) -> dict[int, LabelSuperResolution]:
    """What lines within the slices teach about labels, by the number of planes in a gap."""
    layers, offsets, learnt = trusted.stacks[0].layers, trusted.planes.offsets, dict[int, LabelSuperResolution]()
    if preset.label_super_resolution is None or layers is None:
        return learnt
    with run.stage("labels") as tick, serial_torch():
        if not priors:
            return learnt
        counts = trusted.plane_counts
        trainer = LabelTrainer(torch.from_numpy(trusted.slices).to(device), layers, LabelChannels(trusted.segments),
                               trusted.pitches, trusted.thickness, preset.label_super_resolution, seed)
        for number, (count, prior) in enumerate(priors.items()):
            def note(step: int, steps: int, loss: float, done: int = number) -> None:
                tick(done * steps + step, len(priors) * steps, loss)

            context = SliceContext.around(np.flatnonzero(counts == count), offsets, evenly(count), prior.size)
            network = trainer.train(context, prior.on(device), note)
            if network is not None:
                learnt[count] = network
    return learnt


def _on_device_or_cpu(work: Callable[[torch.device], T], device: torch.device) -> T:
    """Work on the device, or on the CPU where a GPU has too little memory for it."""
    try:
        return work(device)
    except (MemoryError, RuntimeError) as error:
        if device.type == "cpu" or not is_lack(error):
            raise
    release(device)
    return work(torch.device("cpu"))


def _slabs(task: Task, chosen: SelectedDevice, memory: Memory) -> list[Slab]:
    """As many slabs as the memory at hand asks for."""
    gap_bytes = task.gap_bytes()
    if not task.can_be_cut:
        return [Slab(0, len(gap_bytes), len(gap_bytes))]
    return plan(gap_bytes, budget(chosen.device) if memory.budget is None else memory.budget)


def _reconstruct(observations: Observations, output_grid: Grid, fitting: Fitting, store: ShardStore, run: Run,
                 previews: Previews | None = None) -> Reconstruction:
    """Fit slab after slab, and draw each plane of the output as soon as everything that reaches it is known."""
    task = fitting.task
    model = _blank_model(observations, task)
    volume_renderer = VolumeRenderer(model, output_grid, observations.dtype)
    errors, residuals = [], [Residual()] * len(observations.stacks)
    fitting.train()
    for number, fitted in enumerate(fitting.fitted()):
        errors.append(fitted.error)
        residuals = [total + more for total, more in zip(residuals, fitted.residuals, strict=True)]
        while fitted.clouds:  # the store is to be the only one that holds them
            store.add(fitted.clouds.pop(0))
        with run.stage("rendering", number, len(fitting.slabs)) as tick:
            volume_renderer.advance(store.parts, fitted.complete_below, fitting.chosen.backend, fitting.chosen.device,
                                    tick)
        if previews is not None:
            previews.drawn(volume_renderer)
        if len(fitting.slabs) > 1:
            store.retire(volume_renderer.needs)
    planes, intensity = task.trusted.planes, task.trusted.intensity
    report = {
        "product": "TriplaneGaussianRecon", "version": __version__, "preset": task.preset.name, "seed": task.seed,
        "device": fitting.chosen.backend, "device_note": fitting.chosen.note, "slabs": len(fitting.slabs),
        "gaussians": sum(p.count for p in store.parts),
        "trusted_slices": len(planes), "labels": len(observations.segments), "weights": task.ensemble.named_weights,
        "residual_on_trusted_slices": [_residual_report(residual, intensity) for residual in residuals],
        "self_check": _self_check(task.ensemble), "seconds": run.seconds, "loss": run.losses,
        "notes": fitting.notes, "note": "Research software, not a medical device.",
    }
    pixel = np.array([np.linalg.norm(planes.column_step), np.linalg.norm(planes.row_step)])
    expected_error = ExpectedError.from_coarse(np.concatenate(errors), planes.shape[1:], planes.offsets, pixel,
                                               residuals[0].absolute / residuals[0].pixels)
    provenance = {key: report[key] for key in ("product", "version", "preset", "seed", "device", "trusted_slices",
                                               "self_check", "note")}
    model = replace(model, parts=store.finish(), expected_error=expected_error, provenance=provenance)
    segmentation = None
    if volume_renderer.layers is not None:
        segmentation = Segmentation(volume_renderer.layers, observations.segments, output_grid)
    confidence = Image(expected_error_on_grid(model, output_grid, fitting.chosen.device), output_grid)
    return Reconstruction(Image(volume_renderer.volume, output_grid), confidence, segmentation, model, report)


def _blank_model(observations: Observations, task: Task) -> Model:
    """The model before it has any Gaussian."""
    planes, preset = task.trusted.planes, task.preset
    unknown = ExpectedError(np.zeros((len(planes) - 1, 1, 1), np.float32), planes.offsets, np.zeros(2), np.ones(2), 0.0)
    return Model((), task.trusted.frame, preset.mode, preset.cutoff, task.trusted.intensity, unknown,
                 observations.segments)


def _residual_report(residual: Residual, intensity: IntensityScale) -> dict[str, float]:
    """How exactly the model reproduces a trusted stack, input units."""
    squared = residual.squared / residual.pixels / intensity.scale ** 2
    entry = {"mean_absolute": residual.absolute / residual.pixels, "largest": residual.largest,
             "psnr": round(float(-10.0 * np.log10(max(squared, 1e-10))), 2)}
    if residual.labels:
        entry["label_agreement"] = residual.agreeing / residual.labels
    return entry


def _self_check(ensemble: EnsembleWeights) -> dict[str, Any]:
    """Scores on trusted slices that were hidden and predicted across twice the real gap."""
    if not ensemble.hidden:
        return {"note": "Too few trusted slices to hide one and check.", "band_68": round(ensemble.band, 4)}
    scores = [score.psnr for score in ensemble.hidden]
    return {"psnr_at_twice_the_gap": round(float(np.mean(scores)), 2), "slices": len(scores),
            "band_68": round(ensemble.band, 4),
            "per_slice": {str(score.plane): round(score.psnr, 2) for score in ensemble.hidden},
            "note": "Trusted slices hidden and predicted from their neighbours across twice the real gap: what lies "
                    "between the trusted slices is usually better."}
