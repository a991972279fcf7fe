"""`reconstruct` with several volumes of one body."""
from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from ..config.presets import preset_named
from ..config.texture import DEFAULT_TEXTURE
from ..data.alignment import aligned_to
from ..data.geometry import Grid
from ..data.label_slices import DRAWN, presence
from ..data.observations import Observations
from ..data.output_grid import meant_grid
from ..data.stack_input import StackInput
from ..data.volume_notes import about_volume
from ..errors import InputError
from ..io.motion_files import read_motion
from ..io.readers import read_image, read_segmentation
from ..jobs.calibration import slowness
from ..jobs.estimates import Estimate
from ..jobs.request import Request
from ..jobs.stack_estimates import SeenSlices, estimate_stacks
from ..pipeline.report import Files
from ..pipeline.used_stacks import UNION, UsedStacks, solved
from ..runtime.devices import SelectedDevice, choose
from ..runtime.notes import collected_notes
from ..runtime.stop_signals import stoppable
from .arguments import OUTPUT_GRIDS
from .console import announce_stop, note, shown_progress
from .details import tell_details
from .expectation import expect, kind_of
from .inputs import chosen_slices, read_mask, read_volume
from .outputs import check_paths, check_space, write
from .summary import summarise

_OF_SEVERAL = ("to_first", "motion", "output_motion")
_OF_ONE = ("trust", "cover_voxels", "paste_trusted", "output_certainty", "output_probabilities", "label_network",
           "steps", "region")


def refuse_alone(arguments: Namespace) -> None:
    """Raise InputError for an option that only several volumes have."""
    for option in _named(arguments, _OF_SEVERAL if arguments.stacks else (*_OF_SEVERAL, "output_grid")):
        raise InputError(f"{option} is for several volumes of one body. Give a further volume, or leave it out.")


def run_several(arguments: Namespace) -> None:
    """Do what `reconstruct` was asked for with several volumes, or one whose slices average; raises a
    ReconstructionError for whatever is wrong.
    """
    start = time.perf_counter()
    if len(arguments.stacks) == 1:
        refuse_alone(arguments)
    if arguments.texture != DEFAULT_TEXTURE:
        raise InputError("--texture even does not go with several volumes, or with --thickness and --profile. Leave it "
                         "out.")
    for option in _named(arguments, _OF_ONE):
        raise InputError(f"{option} does not go with several volumes, or with --thickness and --profile. Leave it out.")
    check_paths(arguments)
    preset_named(arguments.preset)
    selected = choose(arguments.device)
    note(selected.note)
    for number, each in enumerate(arguments.stacks, start=1):
        note(f"volume {number}: {each.volume}")
    with collected_notes() as notes:
        used = read_volumes(arguments)
        observations = used.observations()
        with _about_options(arguments, "output_grid", "output_spacing"):
            output = used.output(observations, _voxels(arguments.output_grid), arguments.output_spacing)
    labelled = next((each.segmentation for each in used.inputs if each.segmentation is not None), None)
    check_space(arguments, meant_grid(observations, output), observations.dtype, labelled)
    expected = expect(_expected(arguments, observations, output, selected), arguments.memory)
    with stoppable(announce_stop) as should_stop, shown_progress(expected) as show:
        result = solved(observations, output, preset=arguments.preset, device=arguments.device, seed=arguments.seed,
                        motion=arguments.motion or "stack", progress=show, should_stop=should_stop,
                        limit=arguments.memory)
    files = [Files(each.volume, each.labels, mask=each.mask) for each in arguments.stacks]
    result = used.finished(result, observations, notes, files)
    summarise(result.report, write(result, arguments), time.perf_counter() - start)
    tell_details(result.report, arguments.memory)


def _expected(arguments: Namespace, observations: Observations, output: Grid | float, selected: SelectedDevice
              ) -> Estimate:
    """What it will take on this computer."""
    stacks = [SeenSlices(each.planes, each.thickness, each.profile) for each in observations.trimmed().stacks]
    return estimate_stacks(stacks, output, bool(observations.segments), arguments.preset, kind_of(selected),
                           arguments.motion != "none", slowness(selected.device))


def read_volumes(arguments: Namespace) -> UsedStacks:
    """Read the volumes and what belongs to each; raises InputError, which names the volume."""
    inputs = []
    for number, options in enumerate(arguments.stacks):
        with about_volume(number):
            inputs.append(_read(options))
    return UsedStacks(tuple(inputs))


def _read(options: Namespace) -> StackInput:
    """Read one volume; options: those that belong to it."""
    image = read_volume(options)
    request = Request(options.axis or "auto", chosen_slices(options), excluded=options.exclude or "")
    axis, segmentation = request.slice_axis(image.grid), None
    if options.labels:
        segmentation = aligned_to(read_segmentation(options.labels, image.grid), image.grid)
    elif request.needs_labels or options.labels_on is not None:
        raise InputError("Slices with labels are asked for, but it has none. Give --labels after it.")
    present = {} if segmentation is None else {axis: presence(segmentation, axis)}
    selection = request.selections(image.grid, axis, present)[axis]
    to_first = None if options.to_first is None else read_motion(options.to_first, options.volume)
    return StackInput(image, axis, selection, options.thickness, options.profile or "gaussian", segmentation, to_first,
                      DRAWN if options.labels_on is None else options.labels_on, read_mask(options, image))


def _voxels(name: str | None) -> str | Grid:
    """The voxels that --output-grid means."""
    return name or UNION if name is None or name in OUTPUT_GRIDS else read_image(name).grid


@contextmanager
def _about_options(arguments: Namespace, *names: str) -> Iterator[None]:
    """Let each InputError of the block begin with those of these options that are given."""
    try:
        yield
    except InputError as error:
        options = _named(arguments, names)
        raise InputError(f"{' and '.join(options)}: {error}" if options else str(error)) from error


def _named(arguments: Namespace, names: tuple[str, ...]) -> list[str]:
    """Which of these options are given."""
    return ["--" + name.replace("_", "-") for name in names if getattr(arguments, name)]
