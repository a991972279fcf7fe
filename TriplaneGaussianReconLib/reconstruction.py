"""The pipeline: observations in, dense volume, labels, confidence and model out."""
from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from . import __version__
from .arbitration import Arbitration, arbitrate
from .confidence import ExpectedError
from .correspondence import correspond, serial_opencv
from .errors import Cancelled, InputError
from .gaussians import GaussianParameters
from .geometry import Grid, PlaneStack
from .images import Image, Segmentation
from .initialization import Gaps, along_displacement, on_grid
from .model import IntensityScale, Model, frame_of
from .observations import Observations
from .prediction import Prediction, corrected, predict
from .presets import Preset, preset_named
from .rasterizer import Backend, backend_for
from .rendering import draw, draw_grid, expected_error_on_grid
from .segmentation import LabelChannels
from .training import Drawing, View, refine, train
from .triplane import TriplaneField


@dataclass(frozen=True)
class Progress:
    """Where a reconstruction is: `fraction` of the stage `stage` is done; `loss` where there is one."""

    stage: str
    fraction: float
    step: int = 0
    steps: int = 0
    loss: float | None = None


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


# The stages of a reconstruction in order, with their usual share of the time.
STAGES = {"correspondence": 0.03, "arbitration": 0.12, "prediction": 0.1, "initialization": 0.1, "training": 0.25,
          "refinement": 0.25, "rendering": 0.15}


def reconstruct(observations: Observations, output_grid: Grid, *, preset: str | Preset = "fast", device: str = "auto",
                seed: int = 0, progress: Callable[[Progress], None] | None = None,
                should_stop: Callable[[], bool] | None = None) -> Reconstruction:
    """Reconstruct a dense volume, and dense labels if there are any, from trusted slices.

    output_grid: where the result is wanted; the model itself does not depend on it beyond how far it must reach.
    preset: a name from `presets.PRESETS`, or a Preset.  device: auto, cpu or cuda.  seed: the same seed gives the same
    bits on the CPU.  progress: called often with a Progress.  should_stop: asked often; true raises Cancelled.

    Raises InputError for what cannot be reconstructed, BackendUnavailableError for a device that is not there.
    """
    preset = preset_named(preset) if isinstance(preset, str) else preset
    backend = backend_for(device)
    run = _Run(progress or (lambda _: None), should_stop or (lambda: False))
    with serial_opencv():
        return _reconstruct(observations, output_grid, preset, backend, seed, run)


def _reconstruct(observations: Observations, output_grid: Grid, preset: Preset, backend: Backend, seed: int,
                 run: _Run) -> Reconstruction:
    scene = _Scene.of(observations, output_grid)
    found_out = _look(scene, run)
    semantic = bool(preset.training.semantic_loss and observations.segments)
    drawing = Drawing(preset.mode, preset.cutoff, backend, scene.channels.count if semantic else 1)
    with run.stage("initialization"):
        start, views = _start(scene, found_out, preset, seed)
    parameters = start if semantic else start.image_only()
    with run.stage("training") as tick:
        field_ = _field(scene, preset, drawing.channel_count - 1, seed)
        parameters = train(parameters, field_, views, drawing, preset.training, preset.triplane.total_variation,
                           scene.pixel, tick)
    with run.stage("refinement") as tick:
        if preset.refinement_steps:
            parameters = refine(parameters, views, drawing, preset.refinement_steps, tick)
    if not semantic:
        parameters = parameters.with_labels_of(start)
    with run.stage("rendering") as tick:
        model = _model(scene, found_out, parameters, preset, backend, observations)
        drawn = draw_grid(model, output_grid, backend, lambda done, of: tick(done, of, None))
        residuals = _residuals(model, observations, backend)
    report = {
        "product": "TriplaneGaussianRecon", "version": __version__, "preset": preset.name, "seed": seed,
        "device": backend, "gaussians": len(parameters), "trusted_slices": len(scene.slices),
        "labels": len(observations.segments), "weights": found_out.arbitration.named_weights,
        "residual_on_trusted_slices": residuals, "self_check": _self_check(found_out.arbitration, scene.intensity),
        "seconds": run.seconds, "loss": run.losses,
        "note": "Research software, not a medical device.",
    }
    model = replace(model, provenance={key: report[key] for key in (
        "product", "version", "preset", "seed", "device", "trusted_slices", "self_check", "note")})
    segmentation = None
    if drawn.layers is not None:
        segmentation = Segmentation(drawn.layers, observations.segments, output_grid)
    return Reconstruction(Image(_as_type(drawn.image, observations.dtype), output_grid),
                          Image(expected_error_on_grid(model, output_grid), output_grid), segmentation, model, report)


class _Run:
    """Progress, cancellation and timing of one reconstruction."""

    def __init__(self, progress: Callable[[Progress], None], should_stop: Callable[[], bool]) -> None:
        self.progress, self.should_stop = progress, should_stop
        self.seconds: dict[str, float] = {}
        self.losses: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str):  # type: ignore[no-untyped-def]
        """Time a stage; yields `tick(step, steps, loss)`, which reports and raises Cancelled when asked to stop."""
        def tick(step: int, steps: int, loss: float | None = None) -> None:
            if self.should_stop():
                raise Cancelled("Stopped on request; nothing was written.")
            if loss is not None and np.isfinite(loss):
                self.losses[name] = float(loss)
            self.progress(Progress(name, step / max(steps, 1), step, steps, loss))

        start = time.perf_counter()
        tick(0, 1)
        yield tick
        self.progress(Progress(name, 1.0))
        self.seconds[name] = round(time.perf_counter() - start, 3)


@dataclass(frozen=True)
class _Scene:
    """The observations in the model's frame and units."""

    frame: np.ndarray
    intensity: IntensityScale
    planes: tuple[PlaneStack, ...]
    images: tuple[np.ndarray, ...]
    layers: tuple[np.ndarray | None, ...]
    channels: LabelChannels
    box: np.ndarray
    pixel: float

    @property
    def slices(self) -> np.ndarray:
        """The primary stack, [plane, row, column]."""
        return self.images[0]

    @classmethod
    def of(cls, observations: Observations, output_grid: Grid) -> _Scene:
        primary = observations.stacks[0].planes
        frame = frame_of(primary)
        to_local = np.linalg.inv(frame)
        intensity = IntensityScale.of([stack.pixels for stack in observations.stacks])
        planes = tuple(stack.planes.transformed(to_local) for stack in observations.stacks)
        if np.diff(planes[0].offsets).min() <= 0:
            raise InputError("Two trusted slices lie at the same place. Exclude one of them.")
        corners = output_grid.index_to_physical(np.array([[i, j, k] for i in (0, output_grid.shape[2] - 1)
                                                          for j in (0, output_grid.shape[1] - 1)
                                                          for k in (0, output_grid.shape[0] - 1)]))
        corners = corners @ to_local[:3, :3].T + to_local[:3, 3]
        last = planes[0].origins + (primary.rows - 1) * planes[0].row_step + (
            primary.columns - 1) * planes[0].column_step
        everything = np.concatenate([corners, planes[0].origins, last])
        pixel = float(min(np.linalg.norm(primary.row_step), np.linalg.norm(primary.column_step)))
        return cls(frame, intensity, planes, tuple(intensity.to_model(stack.pixels) for stack in observations.stacks),
                   tuple(stack.layers for stack in observations.stacks), LabelChannels(observations.segments),
                   np.stack([everything.min(axis=0), everything.max(axis=0)]), pixel)


@dataclass(frozen=True)
class _FoundOut:
    """What the trusted slices teach before any Gaussian is placed."""

    gaps: Gaps
    arbitration: Arbitration
    predictions: list[Prediction] = field(repr=False)


def _look(scene: _Scene, run: _Run) -> _FoundOut:
    """Correspondence, arbitration and prediction on the primary stack, corrected by the others."""
    planes, slices = scene.planes[0], scene.slices
    clipped = np.clip(slices, 0.0, 1.0)
    with run.stage("correspondence"):
        found = correspond(clipped)
    with run.stage("arbitration") as tick:
        arbitration = arbitrate(slices, planes.offsets, lambda done: tick(round(100 * done), 100))
    with run.stage("prediction") as tick:
        predictions = predict(planes, slices, found, arbitration, lambda done: tick(round(100 * done), 100))
        if len(scene.planes) > 1:
            predictions = corrected(predictions, list(zip(scene.planes[1:], scene.images[1:], strict=True)))
    gaps = Gaps(planes, slices, found, tuple(p.images for p in predictions), scene.intensity.background,
                scene.layers[0], scene.channels)
    return _FoundOut(gaps, arbitration, predictions)


def _start(scene: _Scene, found_out: _FoundOut, preset: Preset, seed: int) -> tuple[GaussianParameters, list[View]]:
    """The Gaussians to begin with, and what they are fitted to."""
    background = scene.intensity.background
    views = []
    for planes, image, layers in zip(scene.planes, scene.images, scene.layers, strict=True):
        masks = None
        if layers is not None and preset.training.semantic_loss:
            masks = torch.from_numpy(scene.channels.one_hot(layers))
        views.append(View(planes, torch.from_numpy(image - background), torch.ones(len(planes), 1, 1), masks))
    if preset.predicted_weight:
        between = replace(scene.planes[0], origins=np.concatenate([p.planes.origins for p in found_out.predictions]))
        images = np.concatenate([p.images for p in found_out.predictions])
        views.append(View(between, torch.from_numpy(images - background),
                          torch.full((len(between), 1, 1), preset.predicted_weight)))
    if preset.initialization == "grid":
        parameters = on_grid(scene.box, preset.grid_size, scene.channels.count if preset.training.semantic_loss else 1,
                             seed)
    else:
        parameters = along_displacement(found_out.gaps, preset.in_plane_sigma, preset.depth_sigmas, preset.opacity,
                                        (float(scene.box[0, 2]), float(scene.box[1, 2])))
    return parameters, views


def _field(scene: _Scene, preset: Preset, label_channels: int, seed: int) -> TriplaneField:
    triplane = preset.triplane
    with torch.random.fork_rng(devices=[]):  # the caller's own random numbers go on as they were
        torch.manual_seed(seed)
        return TriplaneField(torch.from_numpy(scene.box), triplane.residual_limits, label_channels=label_channels,
                             resolution=triplane.resolution, features=triplane.features, hidden=triplane.hidden,
                             fusion=triplane.fusion)


def _model(scene: _Scene, found_out: _FoundOut, parameters: GaussianParameters, preset: Preset, backend: Backend,
           observations: Observations) -> Model:
    """Put the model together; its expected error comes from the arbitration and from how far the model departs from
    the prediction half-way through each gap: |model - truth| <= |model - prediction| + |prediction - truth|."""
    scale = scene.intensity
    blank = ExpectedError(np.zeros((len(scene.slices) - 1, 1, 1), np.float32), scene.planes[0].offsets, np.zeros(2),
                          np.ones(2), 0.0)
    model = Model(parameters, scene.frame, preset.mode, preset.cutoff, scale, blank, observations.segments)
    image_only = replace(model, segments=(), parameters=parameters.image_only())
    middles = replace(scene.planes[0], origins=np.stack(
        [p.planes.origins[len(p.planes) // 2] for p in found_out.predictions]))
    drawn = draw(image_only, middles.transformed(scene.frame), backend).image
    predicted = np.stack([p.images[len(p.images) // 2] for p in found_out.predictions])
    expected = np.stack([p.expected_error for p in found_out.predictions])
    middle = expected * np.float32(scale.scale) + np.abs(drawn - scale.to_input(predicted))
    trusted = draw(image_only, scene.planes[0].transformed(scene.frame), backend).image
    at_trusted = float(np.abs(trusted - observations.stacks[0].pixels).mean())
    pixel = np.array([np.linalg.norm(scene.planes[0].column_step), np.linalg.norm(scene.planes[0].row_step)])
    return replace(model, expected_error=ExpectedError.from_fine(middle, scene.planes[0].offsets, pixel, at_trusted))


def _residuals(model: Model, observations: Observations, backend: Backend) -> list[dict[str, float]]:
    """How exactly the model reproduces each trusted stack, input units."""
    result = []
    for stack in observations.stacks:
        drawn = draw(model, stack.planes, backend)
        difference = drawn.image - stack.pixels
        entry = {"mean_absolute": float(np.abs(difference).mean()), "largest": float(np.abs(difference).max()),
                 "psnr": _psnr(float((difference ** 2).mean()), model.intensity.scale)}
        if stack.layers is not None and drawn.layers is not None:
            entry["label_agreement"] = float((drawn.layers == stack.layers[:len(drawn.layers)]).mean())
        result.append(entry)
    return result


def _self_check(arbitration: Arbitration, intensity: IntensityScale) -> dict[str, Any]:
    """Scores on trusted slices that were hidden and predicted across twice the real gap."""
    if not arbitration.hidden:
        return {"note": "Too few trusted slices to hide one and check."}
    scores = [score.psnr for score in arbitration.hidden]
    return {"psnr_at_twice_the_gap": round(float(np.mean(scores)), 2), "slices": len(scores),
            "per_slice": {str(score.plane): round(score.psnr, 2) for score in arbitration.hidden},
            "note": "Trusted slices hidden and predicted from their neighbours across twice the real gap: what lies "
                    "between the trusted slices is usually better."}


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert float32 `values` to the voxel type `dtype`, rounded; the ends of wide integer types do not wrap."""
    if np.issubdtype(dtype, np.integer):
        largest = np.float32(np.iinfo(dtype).max)
        if int(largest) > np.iinfo(dtype).max:  # float32 has no such number and rounded up
            largest = np.nextafter(largest, np.float32(0))
        values = np.minimum(np.rint(values), largest)
    return values.astype(dtype)


def _psnr(squared_error: float, peak: float) -> float:
    return round(float(-10.0 * np.log10(max(squared_error / peak ** 2, 1e-10))), 2)
