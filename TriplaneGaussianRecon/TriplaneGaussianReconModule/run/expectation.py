"""How long a run is likely to take, and how much memory, before it starts."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from TriplaneGaussianReconLib.data.geometry import Axis
from TriplaneGaussianReconLib.data.label_slices import at_once
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.jobs.costs import DeviceKind
from TriplaneGaussianReconLib.jobs.estimates import Estimate, Slowness, estimate
from TriplaneGaussianReconLib.jobs.request import Request
from TriplaneGaussianReconLib.jobs.stack_estimates import SeenSlices, estimate_stacks

from .. import wording
from ..scene.drawn_slices import presenceOf
from ..scene.frames import Frame
from ..scene.nodes import gridOf, imageOf
from .choices import Asked
from .several import Several


@dataclass(frozen=True)
class Computer:
    """What is computed on.

    Attributes:
        kind: Of the device.
        slowness: As it was measured with all threads, see `jobs.calibration`.
    """

    kind: DeviceKind = "cpu"
    slowness: Slowness = Slowness()

    def slownessWith(self, threads: int | None) -> Slowness:
        """How slow it is with so many threads; None for all."""
        return self.slowness if self.kind == "cuda" else self.slowness.with_threads(threads)


def expectation(asked: Asked, computer: Computer, presence: Mapping[Axis, np.ndarray] | None, isWarm: bool
                ) -> Estimate:
    """Return what to expect of all frames together.

    Args:
        asked: What is asked for.
        computer: On which.
        presence: See `TriplaneGaussianReconLogic.expected`.
        isWarm: Whether labels go on from what an earlier run learnt.

    Raises:
        InputError: The choices cannot be.
    """
    request, frames, slowness = asked.request, asked.frames, computer.slownessWith(asked.request.threads)
    if asked.several.nodes:
        found = _ofSeveral(request, frames[0], asked.several, computer.kind, slowness)
    else:
        found = _ofOne(request, frames[0], asked.segmentIDs, computer.kind, slowness, presence, isWarm)
    held = found.memory_bytes if request.memory is None else min(found.memory_bytes, request.memory)
    return replace(found, seconds=found.seconds * len(frames), memory_bytes=held)


def _ofOne(request: Request, frame: Frame, segmentIDs: Sequence[str], kind: DeviceKind, slowness: Slowness,
           presence: Mapping[Axis, np.ndarray] | None, isWarm: bool) -> Estimate:
    """What one volume takes."""
    grid, has = gridOf(frame.proxy), frame.segmentationProxy is not None
    with wording.translatedErrors():
        axis = request.slice_axis(grid)
    if presence is None and frame.segmentationProxy is not None:
        presence = {axis: at_once(presenceOf(frame.proxy, frame.segmentationProxy, segmentIDs, axis))}
    if request.needs_labels and not presence:
        request = replace(request, slices="all")
    with wording.translatedErrors():
        plan = request.plan(grid, presence)
    filled = presence[axis].shape[1] if presence and plan.labelled is not None else 0
    seen, selections = plan.seen(grid)
    return estimate(seen, selections, has, request.preset, kind, filled, request.needs_fitting(plan, grid), isWarm,
                    slowness)


def _ofSeveral(request: Request, frame: Frame, several: Several, kind: DeviceKind, slowness: Slowness) -> Estimate:
    """What several volumes take; all slices count as used where it takes a segmentation to know which are."""
    grid = gridOf(frame.proxy)
    with wording.translatedErrors():
        axis = request.slice_axis(grid)
        used = replace(request, slices="all" if request.needs_labels else request.slices).selections(grid, axis, {})
        first = StackInput(imageOf(frame.proxy), axis, used[axis], several.thickness[0], several.profile)
        stacks = [SeenSlices.of(each) for each in (first, *several.inputs(several.placed(frame.proxy)))]
        side = None if isinstance(request.spacing, str) else request.spacing
        hasLabels = frame.segmentationProxy is not None or any(several.segmentations)
        return estimate_stacks(stacks, side, hasLabels, request.preset, kind, several.findMotion, slowness)
