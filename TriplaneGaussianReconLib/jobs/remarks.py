"""What is going to be done, but may not be what the user had in mind: sentences to show with the result."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..data.geometry import AXES, Axis, Grid
from ..data.images import Segmentation
from ..data.observations import closest_first
from ..data.output_grid import isotropic_spacing
from ..data.selection import number_list, parse_numbers
from ..data.sentences import Sentence
from .request import AUTO, ISOTROPIC, Plan, Request


def remarks(request: Request, plan: Plan, grid: Grid, segmentation: Segmentation | None = None,
            presence: Mapping[Axis, np.ndarray] | None = None) -> list[Sentence]:
    """Return what the user should know of a request.

    Args:
        request: What was asked for.
        plan: What follows from it.
        grid: Of the volume.
        segmentation: Of the volume, if there is one.
        presence: What `segments_on_slices` found along each axis of the plan, if there is a segmentation.
    """
    primary = closest_first(grid, plan.selections)[0]
    said = [*_on_spacing(request, plan, grid), *_on_axes(plan, primary), *_on_ends(request, plan, grid, primary)]
    if segmentation is not None and presence is not None:
        said += _on_labels(plan, segmentation, presence, primary)
    return said


def _on_spacing(request: Request, plan: Plan, grid: Grid) -> list[Sentence]:
    said, is_input = [], plan.keeps_voxels(grid)
    present, finer = grid.spacing[AXES.index(plan.axis)], isotropic_spacing(grid, plan.axis)
    selections = (plan.whole or plan).selections
    everything = any(selection.is_everything for selection in selections.values())
    if request.spacing == ISOTROPIC and is_input:
        said.append(Sentence("The slices along {axis} are {spacing} mm apart, no more than the pixels within them: the "
                             "result keeps the voxels of the input.", axis=plan.axis, spacing=f"{present:g}"))
    if everything and is_input and plan.labelled is None:
        said.append(Sentence("All slices are used and the result has the voxels of the input, so nothing is gained. "
                             "Use fewer slices, or choose a finer slice spacing."))
    if plan.spacing is not None and plan.spacing > present:
        said.append(Sentence("The result is coarser than the input: its slices lie {spacing} mm apart, those of the "
                             "input {present} mm.", spacing=f"{plan.spacing:g}", present=f"{present:.4g}"))
    if request.keep_used and not is_input:
        said.append(Sentence("The result has other voxels than the input, so used slices are not left as they are, but "
                             "drawn anew. To keep them, let the slice spacing be that of the input."))
    if request.cover_voxels and is_input:
        said.append(Sentence("The result has the voxels of the input, which cover the volume already."))
    is_automatic = request.spacing == AUTO and not request.crossing and request.slices.strip() == "all"
    if is_input and is_automatic and not everything and finer < present:
        said.append(Sentence("Slices are excluded, so the result has the voxels of the input. For slices as close as "
                             "the pixels are wide, set the slice spacing to {finer} mm.", finer=f"{finer:.4g}"))
    return said


def _on_axes(plan: Plan, primary: Axis) -> list[Sentence]:
    if len(plan.selections) < 2:
        return []
    return [Sentence("Labels and expected error come from the slices along {axis}, which lie closest; the other "
                     "used slices correct the image alone.", axis=primary)]


def _on_ends(request: Request, plan: Plan, grid: Grid, primary: Axis) -> list[Sentence]:
    if not plan.keeps_voxels(grid) and plan.axis == primary:  # it ends with the outermost used slices
        return []
    selection = plan.selections[primary]
    first, last, end = selection.indices[0], selection.indices[-1], selection.count - 1
    beyond = [n for n in plan.slices(primary) if not first <= n <= last]
    if not beyond:
        return []
    known = ("Beyond the outermost used slices along {axis}, {first} and {last}, nothing is known. There ({beyond}) "
             "they are repeated, without labels, and the expected error is the whole range of intensities.")
    values = {"axis": primary, "first": first, "last": last, "beyond": number_list(beyond)}
    excluded = set(parse_numbers(request.excluded)) if request.excluded.strip() else set[int]()
    ends = [n for n in (0, end) if n in beyond and n not in excluded]
    if not ends:
        return [Sentence(known + " Exclude less at the ends if some of it can be used.", **values)]
    if request.needs_labels:
        return [Sentence(known + " To reach the ends, segment these slices too: {ends}.", **values,
                         ends=number_list(ends))]
    option = "--trust {axis}:{slices}" if request.crossing else "--slices {slices}"
    return [Sentence(known + " To reach the ends, choose the slices {slices} (" + option + ").", **values,
                     slices=number_list(sorted({*selection.indices, *ends})))]


def _on_labels(plan: Plan, segmentation: Segmentation, presence: Mapping[Axis, np.ndarray], primary: Axis
               ) -> list[Sentence]:
    labelled = plan.selections if plan.labelled is None else plan.labelled
    carried = {axis: presence[axis][sorted(set(selection.indices) & set(plan.selections[axis].indices))]
               for axis, selection in labelled.items()}
    drawn, said = np.flatnonzero(carried[primary].any(axis=1)), []
    empty = drawn[-1] - drawn[0] + 1 - len(drawn) if len(drawn) else 0
    if empty and plan.labelled is None:  # else a note tells which they are
        said.append(Sentence("{number} used slices between labelled ones carry no label, which is taken to mean "
                             "that nothing is there. If they were not segmented yet, say which slices were.",
                             number=empty))
    seen = np.any([present.any(axis=0) for present in carried.values()], axis=0)
    unseen = [segment.name for segment, is_seen in zip(segmentation.segments, seen, strict=True) if not is_seen]
    if unseen:
        said.append(Sentence("On no slice that is used, and so left out of the result: {segments}.",
                             segments=", ".join(unseen)))
    return said
