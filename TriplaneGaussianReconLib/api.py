"""`reconstruct` for Python programs: from paths or images in memory to a dense volume in one call.

A volume of thick slices, made isotropic:

    >>> import numpy as np, TriplaneGaussianReconLib as tgr
    >>> thick = tgr.Image(np.random.default_rng(0).random((5, 16, 12)), tgr.Grid((5, 16, 12), spacing=(1, 1, 4)))
    >>> tgr.reconstruct(thick, spacing="isotropic", device="cpu").volume
    Image(12 x 16 x 17 float64, 1 x 1 x 1 mm, LPS from (0, 0, 0))

Several volumes of one body, each thick in another direction, with slices 0 and 1 of the second damaged:

    >>> volumes = ["axial.nii.gz", "sagittal.nii.gz", "coronal.nii.gz"]
    >>> result = tgr.reconstruct(volumes, exclude=[(), "0,1", ()], thickness=[None, 4.0, 4.0])  # doctest: +SKIP
    >>> result.motions[1].matrix  # doctest: +SKIP
"""
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from .config.names import MotionKind
from .config.presets import DEFAULT_PRESET, Preset, preset_named
from .config.texture import DEFAULT_TEXTURE, Texture
from .data.alignment import aligned_to
from .data.geometry import Axis, Grid
from .data.images import Image, Segmentation
from .data.label_slices import ALL, DRAWN, LabelsOn, labelled_slices, presence
from .data.masks import within
from .data.observations import closest_first
from .data.output_grid import isotropic_spacing, output_grid
from .data.region import Region
from .data.selection import Selection, parse_numbers, slice_numbers
from .data.slice_profile import SliceProfile
from .data.stack_input import StackInput
from .data.volume_notes import about_volume
from .errors import InputError
from .io.motion_files import read_motion
from .io.readers import read_image, read_segmentation
from .label_completion.trained import TrainedLabels
from .pipeline.reconstruction import Memory, Reconstruction
from .pipeline.texture import reconstruct_with
from .pipeline.used_slices import UsedSlices
from .pipeline.used_stacks import FIRST, UNION, UsedStacks, solved
from .runtime.devices import choose
from .runtime.memory_limits import allowed_bytes
from .runtime.notes import collected_notes
from .runtime.processors import limited_threads
from .runtime.progress import Progress

Source: TypeAlias = Any  # a path, an image of SimpleITK or nibabel, or one of ours; see `reconstruct`
Slices: TypeAlias = Selection | str | Iterable[int]
Spacing: TypeAlias = Literal["isotropic", "input"] | float
T = TypeVar("T")
Excluded: TypeAlias = str | Iterable[int]
Each: TypeAlias = T | Sequence[T | None]  # one for all volumes, or one for each
SomeSlices: TypeAlias = Slices | Mapping[str, Slices] | Sequence[Slices | None]
Listener: TypeAlias = Callable[[Progress], None]


def reconstruct(volume: Source | Sequence[Source], *, labels: Source | None = None, mask: Source | None = None,
                axis: Each[str] | None = None, slices: SomeSlices = "all", exclude: Each[Excluded] = (),
                labels_on: Each[LabelsOn] = DRAWN, thickness: Each[float] | None = None,
                profile: Each[SliceProfile] | None = None, to_first: Sequence[Any] | None = None, region: str = "",
                motion: MotionKind | None = None, output_grid: Any = None, spacing: Spacing | None = None,
                cover_voxels: bool = False, texture: Texture = DEFAULT_TEXTURE, preset: str | Preset = DEFAULT_PRESET,
                device: str = "auto", seed: int = 0, memory: int | str | None = None, threads: int | None = None,
                keep_model: bool = True, label_probabilities: bool = False, label_network: TrainedLabels | None = None,
                progress: Listener | None = None, should_stop: Callable[[], bool] | None = None) -> Reconstruction:
    """Fill the gaps between the slices of a volume, and labels where none are drawn, as the command line does.

    Args:
        volume: a path as for `read_image`, an image of SimpleITK or nibabel, or an `Image`; or a list of such volumes
            of one body, or of `StackInput`: the first gives place and grey values.  All from labels to to_first are
            then lists with an entry or None for each, or, but for labels and to_first, one for all.
        labels: its segmentation, likewise (see `read_segmentation`); on other voxels it is resampled, which is noted.
        mask: likewise: outside of all of its labels the volume counts as NaN, which weighs nothing.
        axis: the slice axis: i, j, k, axial, coronal or sagittal; by default that of largest spacing, k when equal.
        slices: which slices to use, counted from 0 along the slice axis; the others have no influence.  "0,4,8-20",
            "every:4", "hide:3" (all but every third), "25%", "all", numbers or a mask; or these by axis in a mapping.
        exclude: damaged slices of the slice axis, not to be used in any case: a text such as "7,12,20-23", or numbers.
        labels_on: which used slices carry labels; on the others these are filled.  "drawn", see `drawn_rule`;
            "drawn,40": also 40, truly empty; "0,8,16", "every:8", numbers, a mask; or "all".
        thickness: mm that each slice averages over, of several volumes or a single one that is solved for likewise.
        profile: likewise: how it does so, "box" or "gaussian", see `StackInput`.
        to_first: of several volumes: known motion: (4, 4) rigid, LPS mm; a `StackMotion`; or a file of one.
        motion: likewise: "stack", by default, finds how the body lies in each; "none" leaves it as it is.
        output_grid: likewise: "union", cubic voxels about all, of side spacing; "first"; or a `Grid`, or a volume.
        spacing: mm between slices of the result; or "isotropic", the smaller spacing within the slices; or "input".  By
            default "isotropic" if all slices are used and no labels filled on them, else "input".
        region: "10-40,0-63,5-20" reconstructs these voxels along i, j and k alone, with more around them taking part.
        cover_voxels: whether a finer result goes on to the outer faces of the outermost used slices, by whole slices.
        texture: "plain", the least error; or "even": filled slices get the noise they lack, for looking, not measuring.
        preset: a name from `PRESETS`, or a preset.
        device: auto, cpu, cuda, or cuda:1 and so on for one of several GPUs.
        seed: the same seed gives the same result, on a CPU to the last bit.
        memory: what the process may hold of the host at its peak: bytes, or "6GB"; by default what is free.
        threads: how many; by default as many as it may have, see `processors.usable_threads`.
        keep_model: without it nothing is fitted where the result is all known.
        label_network: that of an earlier result on this scan: filling labels then takes seconds.
        label_probabilities: whether to return the probability of each segment, too, where labels are filled.
        progress: called often with a `Progress`.
        should_stop: asked often; when it returns true, `Cancelled` is raised.

    Returns:
        The dense volume and segmentation, the expected error of each voxel, the model, and a report.

    Raises:
        InputError, BackendUnavailableError, MissingPackageError: input, device or a package does not do; it says why.
    """
    each = {"labels": labels, "mask": mask, "axis": axis, "slices": slices, "exclude": exclude, "labels_on": labels_on,
            "thickness": thickness, "profile": profile, "to_first": to_first}  # of each volume
    alone = {"region": region or None, "cover_voxels": cover_voxels, "texture": texture, "label_network": label_network,
             "label_probabilities": label_probabilities}  # of one volume alone
    how = {"preset": preset, "device": device, "seed": seed, "progress": progress, "should_stop": should_stop}
    held = Memory(keep_model=keep_model, limit=None if memory is None else allowed_bytes(memory))
    with limited_threads(threads):
        if isinstance(volume, (list, tuple)):
            return _of_several(volume, each, alone, output_grid, spacing, motion, held, how)
        return _of_one(volume, each, alone, output_grid, spacing, motion, held, how)


def _of_several(volumes: Sequence[Source], each: Mapping[str, Any], alone: Mapping[str, Any],
                output_grid: Source | Grid | None, spacing: Spacing | None, motion: MotionKind | None, memory: Memory,
                how: Mapping[str, Any]) -> Reconstruction:
    """Reconstruct from several volumes of one body."""
    return _together("several volumes", volumes, each, alone, output_grid, spacing, motion=motion or "stack",
                     limit=memory.limit, **how)


def _of_one(volume: Source, each: Mapping[str, Any], alone: Mapping[str, Any], output_grid: Source | Grid | None,
            spacing: Spacing | None, motion: MotionKind | None, memory: Memory, how: Mapping[str, Any]
            ) -> Reconstruction:
    """Reconstruct from one volume; where it is told how its slices average, by what they average over, as several."""
    _refuse("one volume alone", motion=motion, to_first=each["to_first"])
    if each["thickness"] is None and each["profile"] is None:
        _refuse("one volume alone", output_grid=output_grid)
        return _of_thin_slices(volume, spacing, each, memory=memory, **alone, **how)
    one = {name: [value] for name, value in each.items()}
    return _together("slices that average", [volume], one, alone, output_grid, spacing, motion="none",
                     limit=memory.limit, **how)


def _of_thin_slices(volume: Source, spacing: Spacing | None, options: Mapping[str, Any], *, region: str | None,
                    cover_voxels: bool, texture: Texture, **how: Any) -> Reconstruction:
    """Reconstruct from one volume of thin slices; options: what `reconstruct` has of it, how: what the pipeline has."""
    how = _known(how)
    with collected_notes() as notes:
        image = _read(volume, Image, read_image)
        image = within(image, _segmentation_of(options["mask"], image.grid))
        given = _labels_of(options["labels"], image.grid)
        axis = _slice_axis(image.grid, options["axis"])
        asked_for = _selections(image.grid, axis, options["slices"], options["exclude"])
        labelled = _labelled(image.grid, asked_for, given, options["labels_on"])
        output = _output(image.grid, axis, spacing, asked_for, cover_voxels, labelled is None)
        part = Region.within(region or "", image.grid)
        output = output if part is None else part.of_result(output, image.grid, axis)
        used = UsedSlices.of(image, given, axis, asked_for, labelled, part)
        observations = used.observations()
    return used.finished(reconstruct_with(texture, observations, used.drawn(output), **how), observations, notes)


def _together(what: str, volumes: Sequence[Source], options: Mapping[str, Any], alone: Mapping[str, Any],
              output_grid: Source | Grid | None, spacing: Spacing | None, **how: Any) -> Reconstruction:
    """Reconstruct from several volumes, or from one likewise.

    Args:
        what: Which of both, for messages.
        volumes: One or more.
        options: What `reconstruct` has of each.
        alone: What goes with thin slices alone.
        output_grid: See `reconstruct`.
        spacing: Likewise.
        how: What `solved` takes.
    """
    _refuse(what, **alone)
    how = _known(how)
    with collected_notes() as notes:
        used = UsedStacks(_inputs(volumes, options))
        observations = used.observations()
        output = used.output(observations, _voxels(output_grid), spacing)
    return used.finished(solved(observations, output, **how), observations, notes)


def _voxels(output_grid: Source | Grid | None) -> str | Grid:
    """The voxels that output_grid means."""
    if isinstance(output_grid, Grid) or (isinstance(output_grid, str) and output_grid in (UNION, FIRST)):
        return output_grid
    grid: str | Grid = UNION if output_grid is None else _read(output_grid, Image, read_image).grid
    return grid


def _known(how: Mapping[str, Any]) -> dict[str, Any]:
    """Look preset and device up before a volume is read: what is not there is told at once."""
    preset = how["preset"]
    preset = preset_named(preset) if isinstance(preset, str) else preset
    choose(how["device"])
    return {**how, "preset": preset}


def _refuse(what: str, **options: Any) -> None:
    for name, value in options.items():
        if not (value is None or value is False or (name == "texture" and value == DEFAULT_TEXTURE)):
            raise InputError(f"{name} does not go with {what}. Leave it out.")


_OF_ONE_EACH = ("labels", "to_first")  # which cannot be the same for several volumes
_USUAL = {"slices": "all", "exclude": (), "labels_on": DRAWN, "profile": "gaussian"}


def _inputs(volumes: Sequence[Source], options: Mapping[str, Any]) -> tuple[StackInput, ...]:
    """Return the volumes with what goes with each of them."""
    inputs = []
    for name, value in options.items():
        if _is_listed(value) and len(value) != len(volumes):
            raise InputError(f"{name} has {len(value)} entries for {len(volumes)} volumes. Give one for each.")
        if name in _OF_ONE_EACH and value is not None and not _is_listed(value):
            raise InputError(f"{name} belongs to one volume. Give a list with one entry, or None, for each.")
    for number, volume in enumerate(volumes):
        own = {name: value[number] if _is_listed(value) else value for name, value in options.items()}
        own = {name: _USUAL.get(name) if value is None else value for name, value in own.items()}
        with about_volume(number):
            inputs.append(_given(volume, own) if isinstance(volume, StackInput) else _input(volume, **own))
    return tuple(inputs)


def _is_listed(value: Any) -> bool:
    """Whether there is an entry for each volume."""
    return isinstance(value, (list, tuple)) and len(value) > 0


def _given(volume: StackInput, options: Mapping[str, Any]) -> StackInput:
    """Return a volume that comes with all that goes with it; raises InputError for what is given beside it."""
    for name, value in options.items():
        if not (value is None or (isinstance(value, (str, tuple)) and value == _USUAL.get(name))):
            raise InputError(f"It is a StackInput, which has its own {name}. Put it there.")
    return volume


def _input(volume: Source, labels: Source | None, mask: Source | None, axis: str | None, slices: Slices,
           exclude: str | Iterable[int], labels_on: LabelsOn, thickness: float | None, profile: SliceProfile,
           to_first: Any) -> StackInput:
    """Read one of several volumes."""
    image = _read(volume, Image, read_image)
    slice_axis = _slice_axis(image.grid, axis)
    if isinstance(slices, Mapping):
        raise InputError("Of several volumes each is used along one axis. Give its slices without the name of an axis.")
    if isinstance(to_first, (str, os.PathLike)):
        to_first = read_motion(to_first, str(volume) if isinstance(volume, (str, os.PathLike)) else "")
    return StackInput(image, slice_axis, _selections(image.grid, slice_axis, slices, exclude)[slice_axis], thickness,
                      profile, _labels_of(labels, image.grid), to_first, labels_on, _segmentation_of(mask, image.grid))


def _slice_axis(grid: Grid, name: str | None) -> Axis:
    return grid.named_axis(name) if name else grid.thickest_axis()


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


def _labels_of(source: Source | None, grid: Grid) -> Segmentation | None:
    """Return a segmentation, if there is one, on the voxels of `grid`."""
    given = _segmentation_of(source, grid)
    return None if given is None else aligned_to(given, grid)


def _segmentation_of(source: Source | None, grid: Grid) -> Segmentation | None:
    """Return a segmentation, if there is one, on its own voxels; grid: of the volume that it belongs to."""
    return None if source is None else _read(source, Segmentation, lambda path: read_segmentation(path, grid))


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
