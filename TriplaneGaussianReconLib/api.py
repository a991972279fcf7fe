"""`reconstruct` for Python programs: from a path or an image in memory to a dense volume in one call."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

from .config.presets import DEFAULT_PRESET, Preset, preset_named
from .data.alignment import aligned_to
from .data.geometry import Axis, Grid
from .data.images import Image, Segmentation
from .data.label_slices import ALL, DRAWN, LabelsOn, labelled_slices, presence
from .data.observations import closest_first
from .data.output_grid import isotropic_spacing, output_grid
from .data.selection import Selection, parse_numbers, slice_numbers
from .errors import InputError
from .io.readers import read_image, read_segmentation
from .label_completion.trained import TrainedLabels
from .pipeline import reconstruction
from .pipeline.reconstruction import Memory, Reconstruction
from .pipeline.used_slices import UsedSlices
from .runtime.devices import choose
from .runtime.notes import collected_notes
from .runtime.progress import Progress

Source: TypeAlias = Any  # a path, an image of SimpleITK or nibabel, or one of ours; see `reconstruct`
Slices: TypeAlias = Selection | str | Iterable[int]
Spacing: TypeAlias = Literal["isotropic", "input"] | float


def reconstruct(volume: Source, *, labels: Source | None = None, axis: str | None = None,
                slices: Slices | Mapping[str, Slices] = "all", exclude: str | Iterable[int] = (),
                labels_on: LabelsOn = DRAWN, spacing: Spacing | None = None, cover_voxels: bool = False,
                preset: str | Preset = DEFAULT_PRESET, device: str = "auto", seed: int = 0, keep_model: bool = True,
                label_network: TrainedLabels | None = None, progress: Callable[[Progress], None] | None = None,
                label_probabilities: bool = False, should_stop: Callable[[], bool] | None = None) -> Reconstruction:
    """Fill the gaps between the slices of a volume, and labels where none are drawn, as the command line does.

    Args:
        volume: a path as for `read_image`, an image of SimpleITK or nibabel, or an `Image`.
        labels: its segmentation: a path as for `read_segmentation`, an image of SimpleITK or nibabel, or a
            `Segmentation`.  On other voxels than the volume's it is resampled, which the report notes.
        axis: the slice axis: i, j, k, axial, coronal or sagittal; by default that of largest spacing, k when equal.
        slices: which slices to use, counted from 0 along the slice axis; the others have no influence.  "0,4,8-20",
            "every:4", "hide:3" (all but every third), "25%", "all", numbers or a mask; or these by axis in a mapping.
        exclude: damaged slices of the slice axis, not to be used in any case: a text such as "7,12,20-23", or numbers.
        labels_on: which of the used slices carry labels; on the others these are filled.  "drawn": where something is
            drawn, see `label_slices.drawn_rule`; "drawn,40": also slice 40, which is truly empty; "0,8,16", "every:8",
            numbers or a mask: just these, drawn on or not; "all": none are filled.
        spacing: mm between slices of the result; or "isotropic", the smaller spacing within the slices; or "input".  By
            default "isotropic" if all slices are used and no labels filled on them, else "input".
        cover_voxels: whether a finer result goes on to the outer faces of the outermost used slices, by whole slices.
        preset: a name from `PRESETS`, or a preset.
        device: auto, cpu, cuda, or cuda:1 and so on for one of several GPUs.
        seed: the same seed gives the same result, on a CPU to the last bit.
        keep_model: whether the model is wanted; without it nothing is fitted where the result is all known.
        label_network: `label_network` of an earlier result on this scan: filling labels then takes seconds.
        label_probabilities: whether to return the probability of each segment, too, where labels are filled.
        progress: called often with a `Progress`.
        should_stop: asked often; when it returns true, `Cancelled` is raised.

    Returns:
        The dense volume and segmentation, the expected error of each voxel, the model, and a report.

    Raises:
        InputError: the input cannot be reconstructed as it is; the message says what to change.
        BackendUnavailableError: the device is not there.
        MissingPackageError: a package that reads the input is not installed.

    Example:
        >>> import numpy as np, TriplaneGaussianReconLib as tgr
        >>> array = np.random.default_rng(0).integers(500, size=(5, 16, 12)).astype(np.int16)
        >>> thick = tgr.Image(array, tgr.Grid(array.shape, spacing=(1, 1, 4)))
        >>> tgr.reconstruct(thick, spacing="isotropic", device="cpu").volume
        Image(12 x 16 x 17 int16, 1 x 1 x 1 mm, LPS from (0, 0, 0))
    """
    preset = preset_named(preset) if isinstance(preset, str) else preset
    choose(device)  # before the volume is read: what is not there is told at once
    with collected_notes() as notes:
        image = _read(volume, Image, read_image)
        given = None if labels is None else _labels_of(labels, image.grid)
        slice_axis = image.grid.named_axis(axis) if axis else image.grid.thickest_axis()
        asked_for = _selections(image.grid, slice_axis, slices, exclude)
        used = UsedSlices.of(image, given, slice_axis, asked_for, _labelled(image.grid, asked_for, given, labels_on))
        output = _output(image.grid, slice_axis, spacing, asked_for, cover_voxels, used.labelled is None)
        observations = used.observations()
    return used.finished(reconstruction.reconstruct(
        observations, output, preset=preset, device=device, seed=seed, memory=Memory(keep_model=keep_model),
        progress=progress, should_stop=should_stop, label_network=label_network,
        label_probabilities=label_probabilities), observations, notes)


def _read(source: Source, kind: Any, read: Callable[[Any], Any]) -> Any:
    """Return `source` as a `kind`, which is Image or Segmentation; what is a path is read by `read`."""
    if isinstance(source, kind):
        return source
    if isinstance(source, (str, os.PathLike)):
        return read(source)
    # An object of a package can only exist where the package has been imported.
    sitk, nibabel = sys.modules.get("SimpleITK"), sys.modules.get("nibabel")
    if sitk is not None and isinstance(source, sitk.Image):
        return kind.from_sitk(source)
    if nibabel is not None and isinstance(source, nibabel.spatialimages.SpatialImage):
        return kind.from_nibabel(source)
    from_array = {Image: "Image(array, Grid(array.shape, spacing=...))",
                  Segmentation: "Segmentation.from_labelmap(array, grid)"}
    raise InputError(f"Expected a path, an image of SimpleITK or nibabel, or one of type {kind.__name__}, not "
                     f"{type(source).__name__}. For an array [k, j, i] write {from_array[kind]}.")


def _labels_of(source: Source, grid: Grid) -> Segmentation:
    """Return a segmentation on the voxels of `grid`."""
    return aligned_to(_read(source, Segmentation, lambda path: read_segmentation(path, grid)), grid)


def _selections(grid: Grid, axis: Axis, slices: Slices | Mapping[str, Slices], exclude: str | Iterable[int]
                ) -> dict[Axis, Selection]:
    """Return the slices to use of each axis."""
    selections: dict[Axis, Selection] = {}
    for name, chosen in (slices if isinstance(slices, Mapping) else {axis: slices}).items():
        one = grid.named_axis(name)
        if one in selections:
            raise InputError(f"The slices name axis {one} twice. Join them in one list.")
        selections[one] = Selection.of(grid.count(one), chosen)
    excluded = _excluded(exclude, grid.count(axis))
    if excluded and axis not in selections:
        raise InputError(f"Slices of the slice axis, {axis}, are excluded, but none of them are used. Name the axis "
                         "with axis=...")
    return {**selections, axis: selections[axis].excluding(excluded)} if excluded else selections


def _labelled(grid: Grid, observed: Mapping[Axis, Selection], given: Segmentation | None, labels_on: LabelsOn
              ) -> dict[Axis, Selection] | None:
    """Return which slices carry labels, along the axis whose gaps are filled; None if all used ones do."""
    if given is None:
        if not isinstance(labels_on, str) or labels_on.strip() not in (DRAWN, ALL):
            raise InputError("labels_on says which slices carry labels, but there are none. Give labels=...")
        return None
    axis = closest_first(grid, observed)[0]
    labelled = labelled_slices(labels_on, observed[axis], presence(given, axis))
    return None if labelled is None else {axis: labelled}


def _excluded(exclude: str | Iterable[int], count: int) -> tuple[int, ...]:
    if not isinstance(exclude, str):
        return slice_numbers(exclude, count)
    try:
        return tuple(parse_numbers(exclude)) if exclude.strip() else ()
    except ValueError:
        raise InputError(f"Cannot read the slices '{exclude}'. Write them as 7,12,20-23.") from None


def _output(grid: Grid, axis: Axis, spacing: str | float | None, selections: Mapping[Axis, Selection],
            cover_voxels: bool, all_labelled: bool) -> Grid:
    """Return the grid of the result: `grid` itself, or one with another spacing along `axis`."""
    used = selections[axis] if axis == closest_first(grid, selections)[0] else None
    if spacing is None:
        whole = list(selections) == [axis] and selections[axis].is_everything and all_labelled
        spacing = "isotropic" if whole else "input"
    if spacing == "input":
        return output_grid(grid, axis, None, used, cover_voxels)
    if spacing == "isotropic":
        spacing = isotropic_spacing(grid, axis)
    if isinstance(spacing, str):
        raise InputError(f"Cannot read the slice spacing '{spacing}'. Give isotropic, input, or a number of mm.")
    return output_grid(grid, axis, float(spacing), used, cover_voxels)
