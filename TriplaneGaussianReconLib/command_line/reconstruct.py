"""`reconstruct`: sparse slices in; dense volume, labels, expected error, model and report out."""
from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..config.presets import preset_named
from ..data.alignment import aligned_to
from ..data.geometry import Axis, array_axis
from ..data.images import Image, Segmentation
from ..data.masks import with_data
from ..data.observations import Observations
from ..errors import InputError
from ..io.readers import read_segmentation
from ..jobs.remarks import remarks
from ..jobs.request import INPUT, ISOTROPIC, Plan, Request, segments_on_slices
from ..pipeline.reconstruction import Memory, Reconstruction, reconstruct
from ..pipeline.report import Files, Report, Scope
from ..runtime.devices import choose
from ..runtime.notes import collected_notes
from ..runtime.stop_signals import stoppable
from .console import announce_stop, note, say, shown_progress
from .inputs import read_volume
from .outputs import check_paths, check_space, place, write

_SUBSET_OPTIONS = ("keep_every", "hide_every", "keep_percent", "slices", "trust", "exclude")


@dataclass(frozen=True)
class Case:
    """What is to be reconstructed, read and settled.

    Attributes:
        request: What the options ask for.
        plan: What follows for this volume.
        image: The volume.
        segmentation: On the grid of the volume, or None.
        presence: Which slices carry which segments, by axis of the plan; see `segments_on_slices`.
    """

    request: Request
    plan: Plan
    image: Image
    segmentation: Segmentation | None
    presence: dict[Axis, np.ndarray]


def run(arguments: Namespace) -> None:
    """Do what `reconstruct` was asked for; raises a ReconstructionError for whatever is wrong."""
    start = time.perf_counter()
    check_paths(arguments)
    preset_named(arguments.preset)
    note(choose(arguments.device).note)
    with collected_notes() as notes:
        case = read_case(arguments)
        observations = Observations.from_volume(case.image, case.plan.selections, case.segmentation)
    check_space(arguments, case.plan.output, case.image.array.dtype, case.segmentation)
    _warn(case, arguments)
    with stoppable(announce_stop) as should_stop, shown_progress() as show:
        result = reconstruct(observations, case.plan.output, preset=arguments.preset, device=arguments.device,
                             seed=arguments.seed, memory=_memory(arguments), progress=show, should_stop=should_stop)
    result = _completed(result, case, observations, arguments, notes)
    written = write(result, arguments)
    _summarise(result.report, written, time.perf_counter() - start)


def request_of(arguments: Namespace) -> Request:
    """Return what the options ask for; raises InputError for a `--trust` that cannot be read."""
    is_subset = any(getattr(arguments, name) is not None for name in _SUBSET_OPTIONS)
    spacing = arguments.output_spacing
    if spacing is None:
        spacing = INPUT if is_subset else ISOTROPIC
    slices = "all"
    if arguments.keep_every is not None:
        slices = f"every:{arguments.keep_every}"
    elif arguments.hide_every is not None:
        slices = f"hide:{arguments.hide_every}"
    elif arguments.keep_percent is not None:
        slices = f"{arguments.keep_percent}%"
    elif arguments.slices is not None:
        slices = arguments.slices
    return Request(arguments.axis or "auto", slices, tuple(_crossing(text) for text in arguments.trust or ()),
                   arguments.exclude or "", spacing, arguments.preset, arguments.device, arguments.seed,
                   bool(arguments.save_model), arguments.cover_voxels)


def read_case(arguments: Namespace) -> Case:
    """Read the files and settle slices and output grid; raises InputError for what cannot be reconstructed."""
    request, image = request_of(arguments), read_volume(arguments)
    request.check(image.grid, bool(arguments.labels))
    segmentation = (aligned_to(read_segmentation(arguments.labels, image.grid), image.grid) if arguments.labels
                    else None)
    presence: dict[Axis, np.ndarray] = {}
    if segmentation is not None and request.needs_labels:
        axis = request.slice_axis(image.grid)
        presence[axis] = _carried(segmentation, axis)
    plan = request.plan(image.grid, presence)
    plan = replace(plan, selections=with_data(image, plan.selections))
    if arguments.paste_trusted and plan.output is not image.grid:
        raise InputError("--paste-trusted needs a result with the voxels of the input. Add --output-spacing input.")
    if segmentation is not None:
        presence |= {axis: _carried(segmentation, axis) for axis in plan.selections if axis not in presence}
    return Case(request, plan, image, segmentation, presence)


def _crossing(text: str) -> tuple[str, str]:
    """Read AXIS:SPEC."""
    axis, colon, slices = text.partition(":")
    if not colon:
        raise InputError(f"Cannot read --trust '{text}'. Write AXIS:SPEC, for example k:every:4 or i:0,5,10.")
    return axis, slices


def _carried(segmentation: Segmentation, axis: Axis) -> np.ndarray:
    """Which slices along `axis` carry which segments: bool (slice, segment)."""
    steps = segments_on_slices(segmentation, axis)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            present: np.ndarray = end.value
            return present


def _memory(arguments: Namespace) -> Memory:
    """Keep the model if it is to be saved; what does not fit into memory is put where it will be saved."""
    if not arguments.save_model:
        return Memory(keep_model=False)
    return Memory(folder=place(arguments.save_model).parent)


def _warn(case: Case, arguments: Namespace) -> None:
    """Say what is going to be done, but may not be what the user had in mind."""
    if case.segmentation is not None and not (arguments.output_labels or arguments.save_model):
        note("warning: --labels without --output-labels or --save-model: the dense labels are not kept.")
    for remark in remarks(case.request, case.plan, case.image.grid, case.segmentation, case.presence):
        note(f"warning: {remark}")


def _completed(result: Reconstruction, case: Case, observations: Observations, arguments: Namespace, notes: list[str]
               ) -> Reconstruction:
    """Add what the pipeline does not know: the header of the segmentation, pasted slices, where it all came from."""
    segmentation, plan = result.segmentation, case.plan
    if segmentation is not None and case.segmentation is not None:
        segmentation = replace(segmentation, metadata=case.segmentation.metadata)
    scope = Scope.of(plan.axis, plan.selections, plan.output, case.segmentation, observations)
    files = Files(arguments.volume, arguments.labels, arguments.paste_trusted)
    result = replace(result, segmentation=segmentation, report=result.report.about(scope, files, notes))
    return _pasted(result, case) if arguments.paste_trusted else result


def _pasted(result: Reconstruction, case: Case) -> Reconstruction:
    """Put the observed slices of image and labels back as they were; both lie on the input's grid."""
    volume, segmentation = result.volume.array.copy(), result.segmentation
    layers = segmentation.layers.copy() if segmentation is not None else None
    for axis, selection in case.plan.selections.items():
        at: list[Any] = [slice(None)] * 4  # layer, k, j, i
        at[1 + array_axis(axis)] = list(selection.indices)
        volume[tuple(at[1:])] = case.image.array[tuple(at[1:])]
        if layers is not None and case.segmentation is not None:
            layers = layers.astype(np.result_type(layers, case.segmentation.layers), copy=False)
            layers[tuple(at)] = case.segmentation.layers[:len(layers)][tuple(at)]
    if segmentation is not None and layers is not None:
        segmentation = replace(segmentation, layers=layers)
    return replace(result, volume=replace(result.volume, array=volume), segmentation=segmentation)


def _summarise(report: Report, written: dict[str, str], seconds: float) -> None:
    for path, content in written.items():
        say(f"{content + ':':<16}{path}")
    provenance, check = report.provenance, report.self_check
    say(f"{report.gaussians} Gaussians from {provenance.trusted_slices} slices in {seconds:.1f} s "
        f"({provenance.device}).")
    if check.psnr is None:
        say(f"Self check: {check.note}")
    else:
        say(f"Self check: {check.slices} used slices, hidden and predicted from their neighbours across twice the "
            f"gap, came out at {check.psnr:.1f} dB PSNR; between used slices at their usual distance it is mostly "
            "better, in wider gaps worse.")
    say(provenance.note)
