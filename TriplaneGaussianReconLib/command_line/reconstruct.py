"""`reconstruct`: sparse slices in; dense volume, labels, expected error, model and report out."""
from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import dataclass, replace

import numpy as np

from ..config.presets import Preset, in_steps, preset_named
from ..data.alignment import aligned_to
from ..data.geometry import Axis, Grid, array_axis
from ..data.images import Image, Segmentation
from ..data.label_slices import DRAWN, presence
from ..data.masks import within
from ..data.observations import Observations, closest_first
from ..errors import InputError
from ..io.readers import read_segmentation
from ..jobs.calibration import slowness
from ..jobs.estimates import Estimate, estimate, gaussians
from ..jobs.remarks import remarks
from ..jobs.request import AUTO, INPUT, ISOTROPIC, Plan, Request
from ..model.label_network_file import start_from
from ..pipeline.reconstruction import Memory
from ..pipeline.report import Files
from ..pipeline.texture import reconstruct_with
from ..pipeline.used_slices import UsedSlices
from ..runtime.devices import SelectedDevice, choose
from ..runtime.notes import collected_notes
from ..runtime.stop_signals import stoppable
from .console import announce_stop, note, shown_progress, warn
from .details import tell_details
from .expectation import expect, fewer_steps, kind_of
from .inputs import chosen_slices, read_mask, read_volume
from .outputs import check_paths, check_space, place, write
from .summary import summarise
from .volumes import refuse_alone, run_several

_SUBSET_OPTIONS = ("keep_every", "hide_every", "keep_percent", "slices", "trust", "exclude")


@dataclass(frozen=True)
class Case:
    """What is to be reconstructed, read and settled.

    Attributes:
        request: What the options ask for.
        plan: What follows for this volume.
        used: The volume and what is used of it.
        presence: Which slices carry which segments, by axis of the plan; see `label_slices.presence`.
        grid: Of the whole volume.
    """

    request: Request
    plan: Plan
    used: UsedSlices
    presence: dict[Axis, np.ndarray]
    grid: Grid

    @property
    def image(self) -> Image:
        """The volume; of a region what takes part within slices."""
        return self.used.image

    @property
    def segmentation(self) -> Segmentation | None:
        """On the grid of the volume, or None."""
        return self.used.segmentation


def run(arguments: Namespace) -> None:
    """Do what `reconstruct` was asked for; raises a ReconstructionError for whatever is wrong."""
    if arguments.stacks:
        run_several(arguments)
        return
    start = time.perf_counter()
    refuse_alone(arguments)
    check_paths(arguments)
    preset = _preset(arguments)
    selected = choose(arguments.device)
    note(selected.note)
    learnt = start_from(arguments.label_network)
    with collected_notes() as notes:
        case = read_case(arguments)
        observations = case.used.observations()
    _check_filled(observations, arguments)
    check_space(arguments, case.plan.output, case.image.array.dtype, case.segmentation, _most_gaussians(case))
    _warn(case, arguments)
    told = _expected(case, selected, learnt is not None, arguments.steps)
    if advice := fewer_steps(told.seconds, preset.training.steps):
        note(advice)
    expected = expect(told, arguments.memory)
    with stoppable(announce_stop) as should_stop, shown_progress(expected) as show:
        result = reconstruct_with(arguments.texture, observations, case.used.drawn(case.plan.output), preset=preset,
                                  device=arguments.device, seed=arguments.seed, memory=_memory(arguments),
                                  progress=show, should_stop=should_stop, label_network=learnt,
                                  label_probabilities=bool(arguments.output_probabilities))
    files = Files(arguments.volume, arguments.labels, arguments.mask)
    result = case.used.finished(result, observations, notes, files, case.request.keep_used)
    written = write(result, arguments)
    summarise(result.report, written, time.perf_counter() - start)
    tell_details(result.report, arguments.memory)


def _preset(arguments: Namespace) -> Preset:
    """The preset that the options name; raises InputError for steps that it does not make."""
    preset = preset_named(arguments.preset)
    return preset if arguments.steps is None else in_steps(preset, arguments.steps)


def request_of(arguments: Namespace) -> Request:
    """Return what the options ask for; raises InputError for a `--trust` that cannot be read."""
    is_subset = any(getattr(arguments, name) is not None for name in _SUBSET_OPTIONS)
    spacing = arguments.output_spacing
    if spacing is None:
        spacing = INPUT if is_subset else AUTO if arguments.labels else ISOTROPIC
    return Request(arguments.axis or "auto", chosen_slices(arguments),
                   tuple(_crossing(text) for text in arguments.trust or ()),
                   arguments.exclude or "", spacing, arguments.preset, arguments.device, arguments.seed,
                   bool(arguments.save_model), arguments.cover_voxels,
                   DRAWN if arguments.labels_on is None else arguments.labels_on, texture=arguments.texture,
                   region=arguments.region or "", keep_used=arguments.paste_trusted)


def read_case(arguments: Namespace) -> Case:
    """Read the files and settle slices and output grid; raises InputError for what cannot be reconstructed."""
    request, image = request_of(arguments), read_volume(arguments)
    request.check(image.grid, bool(arguments.labels))
    image = within(image, read_mask(arguments, image))
    segmentation = (aligned_to(read_segmentation(arguments.labels, image.grid), image.grid) if arguments.labels
                    else None)
    present: dict[Axis, np.ndarray] = {}
    if segmentation is not None:
        present = {axis: presence(segmentation, axis) for axis in request.axes(image.grid)}
    plan = request.plan(image.grid, present)
    if request.keep_used and not plan.keeps_voxels(image.grid):
        raise InputError("--paste-trusted needs a result with the voxels of the input. Add --output-spacing input.")
    used = UsedSlices.of(image, segmentation, plan.axis, plan.selections, plan.labelled, plan.region)
    return Case(request, replace(plan, selections=dict(used.observed)), used, present, image.grid)


def _crossing(text: str) -> tuple[str, str]:
    """Read AXIS:SPEC."""
    axis, colon, slices = text.partition(":")
    if not colon:
        raise InputError(f"Cannot read --trust '{text}'. Write AXIS:SPEC, for example k:every:4 or i:0,5,10.")
    return axis, slices


def _expected(case: Case, selected: SelectedDevice, is_warm: bool, steps: int | None) -> Estimate:
    """What it will take on this computer; is_warm: whether filling labels starts from what was learnt before."""
    plan, (grid, selections) = case.plan, case.plan.seen(case.grid)
    filled = 0 if plan.labelled is None or case.segmentation is None else len(case.segmentation.segments)
    return estimate(grid, selections, case.segmentation is not None, case.request.preset, kind_of(selected), filled,
                    case.request.needs_fitting(plan, case.grid), is_warm, slowness(selected.device), steps)


def _most_gaussians(case: Case) -> int:
    """How many a model may have, those in the margin about the slices included."""
    (grid, selections), preset = case.plan.seen(case.grid), preset_named(case.request.preset)
    across = array_axis(closest_first(grid, selections)[0])
    sides = np.delete(grid.shape, across)
    return int(gaussians(grid, selections, preset.gap_sampling)
               * np.prod(1.0 + 2.0 * preset.placement.margin / sides))


def _memory(arguments: Namespace) -> Memory:
    """Keep the model if it is to be saved; what does not fit into memory is put where it will be saved."""
    if not arguments.save_model:
        return Memory(keep_model=False, limit=arguments.memory)
    return Memory(folder=place(arguments.save_model).parent, limit=arguments.memory)


def _warn(case: Case, arguments: Namespace) -> None:
    """Say what is going to be done, but may not be what the user had in mind."""
    if case.segmentation is not None and not (arguments.output_labels or arguments.save_model
                                              or arguments.output_certainty or arguments.output_probabilities):
        warn("--labels without --output-labels or --save-model: the dense labels are not kept.")
    for remark in remarks(case.request, case.plan, case.grid, case.segmentation, case.presence):
        warn(str(remark))


def _check_filled(observations: Observations, arguments: Namespace) -> None:
    """Refuse to write how certain labels are where none are filled."""
    for option, path in (("--output-certainty", arguments.output_certainty),
                         ("--output-probabilities", arguments.output_probabilities)):
        if path and observations.stacks[0].labelled is None:
            raise InputError(f"{option} tells about labels that are filled on used slices, and all of these carry "
                             "labels. Leave it out, or say with --labels-on which slices were drawn on.")

