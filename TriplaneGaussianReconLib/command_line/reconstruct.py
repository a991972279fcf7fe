"""`reconstruct`: sparse slices in, dense volume, labels, confidence, model and report out."""
from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config.presets import preset_named
from ..data.geometry import AXES, Axis, Grid, array_axis
from ..data.images import Image, Segmentation, aligned_to
from ..data.observations import Observations, closest_first
from ..data.output_grid import isotropic_spacing, output_grid
from ..data.selection import Selection, parse_numbers
from ..errors import Cancelled, InputError
from ..io.atomic import check_output, write_json
from ..io.readers import read_image, read_segmentation
from ..io.writers import check_writable, write_image, write_segmentation
from ..model.model_file import MODEL_EXTENSION, save_model
from ..pipeline.reconstruction import STAGES, Memory, Reconstruction, reconstruct
from ..runtime.devices import choose
from ..runtime.stop_signals import stoppable
from .console import announce_stop, note, shown_progress

_SUBSET_OPTIONS = ("keep_every", "hide_every", "keep_percent", "slices", "trust", "exclude")


@dataclass(frozen=True)
class Case:
    """What is to be reconstructed.

    trusted: selection per axis.  output: the grid of the result.
    """

    image: Image
    segmentation: Segmentation | None
    axis: Axis
    trusted: dict[Axis, Selection]
    output: Grid


def run(arguments: Namespace) -> None:
    """Do what `reconstruct` was asked for; raises a ReconstructionError for whatever is wrong."""
    start = time.perf_counter()
    _check_paths(arguments)
    preset_named(arguments.preset)
    note(choose(arguments.device).note)
    case = read_case(arguments)
    observations = Observations.from_volume(case.image, case.trusted, case.segmentation)
    given = case.segmentation.segments if case.segmentation is not None else ()
    unseen = [segment.name for segment in given if segment not in observations.segments]
    if unseen:
        note(f"warning: On no trusted slice, and so left out of the result: {', '.join(unseen)}.")
    _warn(case, arguments)
    with stoppable(announce_stop) as should_stop, shown_progress(STAGES) as show:
        result = reconstruct(observations, case.output, preset=arguments.preset, device=arguments.device,
                             seed=arguments.seed, memory=_memory(arguments), progress=show, should_stop=should_stop)
    result = _completed(result, case, arguments)
    written = _write(result, arguments)
    _summarise(result, written, time.perf_counter() - start)


def read_case(arguments: Namespace) -> Case:
    """Read the files and settle slices and output grid; raises InputError for what cannot be reconstructed."""
    image = read_image(arguments.volume)
    axis = image.grid.named_axis(arguments.axis) if arguments.axis else image.grid.thickest_axis()
    trusted = _trusted(arguments, image.grid, axis)
    segmentation = aligned_to(read_segmentation(arguments.labels), image.grid) if arguments.labels else None
    subset = any(getattr(arguments, name) is not None for name in _SUBSET_OPTIONS)
    spacing = arguments.output_spacing
    if spacing is None:
        spacing = "input" if subset else "isotropic"
    output = _output_grid(spacing, image.grid, axis)
    if arguments.paste_trusted and output is not image.grid:
        raise InputError("--paste-trusted needs a result with the voxels of the input. Add --output-spacing input.")
    if output is image.grid and any(selection.is_everything for selection in trusted.values()):
        note("warning: All slices are trusted and the result has the voxels of the input, so nothing is gained. Trust "
             "fewer slices, or choose a finer --output-spacing.")
    return Case(image, segmentation, axis, trusted, output)


def _memory(arguments: Namespace) -> Memory:
    """The model is kept if it is to be saved, meanwhile where it will be."""
    if not arguments.save_model:
        return Memory(keep_model=False)
    return Memory(folder=_place(arguments.save_model).parent)


def _warn(case: Case, arguments: Namespace) -> None:
    """Say what is done, but may not be what the user had in mind."""
    if case.segmentation is not None and not (arguments.output_labels or arguments.save_model):
        note("warning: --labels without --output-labels or --save-model: the dense labels are not kept.")
    primary = closest_first(case.image.grid, case.trusted)[0]
    if len(case.trusted) > 1:
        note(f"Labels and expected error come from the slices along {primary}, which lie closest; the other trusted "
             "slices correct the image alone.")
    trusted = case.trusted[primary]
    beyond = trusted.count - 1 - trusted.indices[-1] + trusted.indices[0]
    gap = max(np.diff(trusted.indices), default=1)
    if beyond >= gap:
        note(f"warning: {beyond} slices lie beyond the outermost trusted ones along {primary} (slices "
             f"{trusted.indices[0]} and {trusted.indices[-1]}); there these are repeated.")
    if case.segmentation is not None:
        drawn = [bool(case.segmentation.layers.take(n, 1 + array_axis(primary)).any()) for n in trusted.indices]
        labelled = np.flatnonzero(drawn)
        empty = sum(not d for d in drawn[labelled[0]:labelled[-1]]) if len(labelled) else 0
        if empty:
            indices = ",".join(str(trusted.indices[n]) for n in labelled)
            note(f"warning: {empty} trusted slices between labelled ones carry no label, which is taken to mean that "
                 f"nothing is there. If they were not segmented yet, trust the others alone: --slices {indices}")


def _trusted(arguments: Namespace, grid: Grid, axis: Axis) -> dict[Axis, Selection]:
    """Return the selection per axis that the options ask for."""
    count = grid.count(axis)
    trusted = {axis: Selection.every(count, 1)}
    if arguments.keep_every is not None:
        trusted[axis] = Selection.every(count, arguments.keep_every)
    elif arguments.hide_every is not None:
        trusted[axis] = Selection.all_but_every(count, arguments.hide_every)
    elif arguments.keep_percent is not None:
        trusted[axis] = Selection.percentage(count, arguments.keep_percent)
    elif arguments.slices is not None:
        trusted[axis] = Selection.parse(count, arguments.slices)
    elif arguments.trust is not None:
        trusted = {}
        for text in arguments.trust:
            name, colon, spec = text.partition(":")
            if not colon:
                raise InputError(f"Cannot read --trust '{text}'. Write AXIS:SPEC, for example k:every:4 or i:0,5,10.")
            one = grid.named_axis(name.strip())
            if one in trusted:
                raise InputError(f"--trust names axis {one} twice. Join the slices in one list.")
            trusted[one] = Selection.parse(grid.count(one), spec)
    if arguments.exclude is not None:
        if axis not in trusted:
            raise InputError(f"--exclude is about slices of the slice axis, {axis}, of which --trust names none. Name "
                             "the axis with --axis.")
        trusted[axis] = trusted[axis].excluding(_numbers(arguments.exclude))
    return trusted


def _numbers(text: str) -> list[int]:
    try:
        return parse_numbers(text)
    except ValueError:
        raise InputError(f"Cannot read the slices '{text}'. Write them as 7,12,20-23.") from None


def _output_grid(spacing: str | float, grid: Grid, axis: Axis) -> Grid:
    """Return the grid of the result: `grid` itself, or one with another spacing along `axis`."""
    if spacing == "input":
        return grid
    if isinstance(spacing, str):
        present, spacing = grid.spacing[AXES.index(axis)], isotropic_spacing(grid, axis)
        if spacing == present:
            note(f"The slices along {axis} are {present:g} mm apart, no more than the pixels within them: the result "
                 "keeps the voxels of the input.")
    return output_grid(grid, axis, spacing)


def _check_paths(arguments: Namespace) -> None:
    """Find out before the work whether all results can be written, and that none replaces an input or another one."""
    if arguments.output_labels and not arguments.labels:
        raise InputError("--output-labels needs --labels: without labels of some slices there are none to make dense.")
    checks: dict[str, Callable[[Path], None]] = {
        "output": check_writable, "output_labels": check_writable, "output_confidence": check_writable,
        "save_model": lambda path: check_output(path, MODEL_EXTENSION), "report": check_output}
    taken = {_place(path): f"the input '{path}'" for path in (arguments.volume, arguments.labels) if path}
    for name, check in checks.items():
        if text := getattr(arguments, name):
            option, place = "--" + name.replace("_", "-"), _place(text)
            if place in taken:
                raise InputError(f"{option} would overwrite {taken[place]}. Choose another name.")
            taken[place] = f"what {option} writes"
            check(Path(text))


def _place(path: str) -> Path:
    return Path(path).resolve()


def _completed(result: Reconstruction, case: Case, arguments: Namespace) -> Reconstruction:
    """Add what the pipeline does not know: the header of the segmentation, pasted slices, where it all came from."""
    segmentation = result.segmentation
    if segmentation is not None and case.segmentation is not None:
        segmentation = replace(segmentation, metadata=case.segmentation.metadata)
    result = replace(result, segmentation=segmentation, report={
        **result.report, "input": arguments.volume, "input_labels": arguments.labels, "axis": case.axis,
        "trusted": {axis: list(selection.indices) for axis, selection in case.trusted.items()},
        "output_shape_kji": case.output.shape, "output_spacing_mm": case.output.spacing,
        "pasted_trusted_slices": arguments.paste_trusted})
    return _pasted(result, case) if arguments.paste_trusted else result


def _pasted(result: Reconstruction, case: Case) -> Reconstruction:
    """Put the trusted slices of image and labels back as they were; both lie on the input's grid."""
    volume, segmentation = result.volume.array.copy(), result.segmentation
    layers = segmentation.layers.copy() if segmentation is not None else None
    for axis, selection in case.trusted.items():
        at: list[Any] = [slice(None)] * 4  # layer, k, j, i
        at[1 + array_axis(axis)] = list(selection.indices)
        volume[tuple(at[1:])] = case.image.array[tuple(at[1:])]
        if layers is not None and case.segmentation is not None:
            layers = layers.astype(np.result_type(layers, case.segmentation.layers), copy=False)
            layers[tuple(at)] = case.segmentation.layers[:len(layers)][tuple(at)]
    if segmentation is not None and layers is not None:
        segmentation = replace(segmentation, layers=layers)
    return replace(result, volume=replace(result.volume, array=volume), segmentation=segmentation)


def _write(result: Reconstruction, arguments: Namespace) -> dict[str, str]:
    """Write all that was asked for; returns what each path holds."""
    written: dict[str, str] = {}
    try:
        write_image(arguments.output, result.volume)
        written[arguments.output] = "dense volume"
        if arguments.output_labels and result.segmentation is not None:
            write_segmentation(arguments.output_labels, result.segmentation)
            written[arguments.output_labels] = "dense labels"
        if arguments.output_confidence:
            write_image(arguments.output_confidence, result.confidence)
            written[arguments.output_confidence] = "expected error"
        if arguments.save_model:
            save_model(arguments.save_model, result.model)
            written[arguments.save_model] = "model"
        if arguments.report:
            write_json(Path(arguments.report), result.report)
            written[arguments.report] = "report"
    except KeyboardInterrupt:
        done = f"Written before: {', '.join(written)}." if written else "Nothing was written."
        raise Cancelled(f"Stopped while writing. {done}") from None
    return written


def _summarise(result: Reconstruction, written: dict[str, str], seconds: float) -> None:
    for path, content in written.items():
        print(f"{content + ':':<16}{path}")
    report, check = result.report, result.report["self_check"]
    print(f"{report['gaussians']} Gaussians from {report['trusted_slices']} trusted slices in {seconds:.1f} s "
          f"({report['device']}).")
    if "psnr_at_twice_the_gap" in check:
        print(f"Self check: {check['slices']} trusted slices, hidden and predicted from their neighbours across twice "
              f"the gap, came out at {check['psnr_at_twice_the_gap']:.1f} dB PSNR; between trusted slices at "
              "their usual distance it is mostly better, in wider gaps worse.")
    else:
        print(f"Self check: {check['note']}")
    print(report["note"])
