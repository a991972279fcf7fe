"""A reconstruction as a folder, so that another process can do it: job in, outcome out, messages in between.

Arrays are `.npy` files, everything else is in one JSON file, which is written last: a folder with `job.json` holds a
whole job, a folder with `outcome.json` a whole outcome.  Nothing here needs more than numpy, so that a program can hand
out jobs without loading what computes them.
"""
from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..config.names import LARGEST_SEED, MOTIONS, MotionKind
from ..config.texture import DEFAULT_TEXTURE, TEXTURES, Texture
from ..data.geometry import Axis, Grid
from ..data.images import Image, Segment, Segmentation
from ..data.json_fields import mapping, real, sequence, text, truth, whole
from ..data.label_slices import ALL, DRAWN
from ..data.observations import closest_first
from ..data.output_grid import output_grid
from ..data.region import Region
from ..data.selection import Selection
from ..data.slice_profile import SliceProfile
from ..data.stack_input import PROFILES, StackInput
from ..errors import InputError, OutputError, cause
from ..io.atomic import array_parts, write_array, write_json
from ..pipeline.report import Report, Scope
from .json_grids import (
    axis_named,
    grid_in,
    grid_to_json,
    selection_of,
    selection_to_json,
    selections_in,
    selections_to_json,
)
from .statistics import VoxelStatistics

FORMAT = 2  # raised when an older program would misread the files
_MOST_FORMATS, _MOST_VOXELS, _MOST_THREADS = 1000, 2 ** 48, 10 ** 6  # more is damage
STOP = "stop"  # a file of this name in the folder asks the worker to stop
MODEL = "model.safetensors"  # in the folder, if the model is kept
LABEL_NETWORK = "label_network.safetensors"  # in the folder, if labels were filled
_PREVIEW = "preview.npy"

# A message is one JSON object on one line.  What each kind holds beside its `event`; `number`, `count`: of the stage.
_NUMBER = (int, float)
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "started": {"device": (str,), "note": (str,)},
    "progress": {"stage": (str,), "number": (int,), "count": (int,), "step": (int,), "steps": (int,), "done": _NUMBER,
                 "seconds_left": (*_NUMBER, type(None))},
    "preview": {"file": (str,), "axis": (str,), "index": (int,)},
    "finished": {},
    "cancelled": {},
    "failed": {"kind": (str,), "message": (str,), "details": (str,)},
}
LAST = ("finished", "cancelled", "failed")  # after these nothing follows
Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What is to be reconstructed, and how.

    Attributes:
        volume: Of any real voxel type; only its observed slices are looked at.
        observed: Which slices are used, by axis.
        segmentation: On the grid of the volume, or None.
        spacing: Mm between the slices of the result, along the axis on which the observed slices lie closest; None
            keeps the voxels of the input.
        preset: A name from `config.presets.PRESETS`.
        device: What `runtime.devices.choose` understands.
        seed: Of the random numbers.
        keep_model: Whether the outcome is to hold the model.
        cover_voxels: See `Request`.
        labelled: Which slices carry labels, see `Observations.from_volume`; None for all that are used.
        label_network: File of what an earlier job on this volume learnt about the labels, see `Outcome`, from which
            this one then starts; None to learn them anew. One that is damaged or of something else is not used, of
            which a note tells.
        further: More volumes of the same body, each with its own slices and labels. With any, the result has cubic
            voxels about all of them, with a side of `spacing`, or as small as the smallest pixel; see
            `pipeline.used_stacks`.
        motion: With further volumes: stack finds how they lie to `volume`, none takes them as they lie.
        thickness: With further volumes: mm that each slice of `volume` averages over; None for their distance.
        profile: With further volumes: how it does so, see `StackInput`.
        memory: Bytes of the host that the worker may hold at its peak; None for what is free.
        threads: How many it uses; None for as many as it may have.
        texture: See `Request`; without further volumes.
        region: Likewise; the slices that are used are those of the whole volume.
        keep_used: Likewise.
    """

    volume: Image
    observed: Mapping[Axis, Selection]
    segmentation: Segmentation | None = None
    spacing: float | None = None
    preset: str = "fast"
    device: str = "auto"
    seed: int = 0
    keep_model: bool = False
    cover_voxels: bool = False
    labelled: Mapping[Axis, Selection] | None = None
    label_network: Path | None = None
    further: tuple[StackInput, ...] = ()
    motion: MotionKind = "stack"
    thickness: float | None = None
    profile: SliceProfile = "gaussian"
    memory: int | None = None
    threads: int | None = None
    texture: Texture = DEFAULT_TEXTURE
    region: str = ""
    keep_used: bool = False

    @property
    def axis(self) -> Axis:
        """The axis on which the observed slices lie closest."""
        return closest_first(self.volume.grid, self.observed)[0]

    @property
    def output_grid(self) -> Grid:
        """The voxels of the result of one volume; raises InputError for an impossible spacing."""
        grid, region = self.volume.grid, Region.within(self.region, self.volume.grid)
        whole = output_grid(grid, self.axis, self.spacing, self.observed[self.axis], self.cover_voxels)
        return whole if region is None else region.of_result(whole, grid, self.axis)

    @property
    def stacks(self) -> tuple[StackInput, ...]:
        """The volume and the further ones as several of one body; raises InputError for what they cannot be."""
        labels_on = ALL if self.labelled is None else self.labelled[self.axis]
        return (StackInput(self.volume, self.axis, self.observed[self.axis], self.thickness, self.profile,
                           self.segmentation, labels_on=labels_on), *self.further)

    def write(self, folder: Path) -> None:
        """Write into `folder`, which must exist, whole or not at all; raises OutputError if that fails."""
        for _ in self.parts(folder):
            pass

    def parts(self, folder: Path) -> Generator[None, None, None]:
        """As `write`, but only a part before each time it yields; what is broken off leaves nothing."""
        arrays = {"volume": self.volume.array}
        for n, each in enumerate(self.further):
            arrays[_FURTHER.format(n)] = each.image.array
            if each.segmentation is not None:
                arrays[_FURTHER_LABELS.format(n)] = each.segmentation.layers
        content = {"grid": grid_to_json(self.volume.grid), "trusted": selections_to_json(self.observed),
                   "labelled": None if self.labelled is None else selections_to_json(self.labelled),
                   "spacing": self.spacing, "preset": self.preset, "device": self.device, "seed": self.seed,
                   "keep_model": self.keep_model, "cover_voxels": self.cover_voxels, "padding": self.volume.padding,
                   "unit": self.volume.unit,
                   "label_network": None if self.label_network is None else str(self.label_network),
                   "further": [_from_stack(each) for each in self.further], "motion": self.motion,
                   "thickness": self.thickness, "profile": self.profile, "memory": self.memory,
                   "threads": self.threads, "texture": self.texture, "region": self.region,
                   "keep_used": self.keep_used}
        return _parts(folder, "job", content, arrays, self.segmentation)

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read what `write` wrote; the arrays stay on the disk and are read when they are needed.

        Raises:
            InputError: The job is missing, damaged or of another version.
        """
        return _read(folder, "job", cls._from)

    @classmethod
    def _from(cls, folder: Path, content: dict[str, Any]) -> Job:
        segmentation = _to_segmentation(folder, "job", "labels", content)
        if not mapping(content, "trusted"):
            raise ValueError("trusted is empty")
        labelled = None if content.get("labelled") is None else selections_in(content, "labelled")
        label_network = None if content.get("label_network") is None else Path(text(content, "label_network"))
        further = tuple(_to_stack(folder, n, each) for n, each in enumerate(sequence(content, "further")))
        return cls(_to_image(_array(folder, "job", "volume"), content),
                   selections_in(content, "trusted"), segmentation, _maybe(content, "spacing"),
                   text(content, "preset"), text(content, "device"), whole(content, "seed", 0, LARGEST_SEED),
                   truth(content, "keep_model"), truth({"cover_voxels": False, **content}, "cover_voxels"), labelled,
                   label_network, further, _MOTIONS[text(content, "motion")], _maybe(content, "thickness"),
                   _PROFILES[text(content, "profile")], _count_or_none(content, "memory", _MOST_VOXELS),
                   _count_or_none(content, "threads", _MOST_THREADS),
                   _TEXTURES[text({"texture": DEFAULT_TEXTURE, **content}, "texture")],
                   text({"region": "", **content}, "region"),
                   truth({"keep_used": False, **content}, "keep_used"))


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        volume: Dense image.
        confidence: Expected absolute error of each voxel, float32, in units of the volume.
        segmentation: Dense labels; None without labels.
        report: What was done, how long it took, and how far to trust it.
        model: The file `MODEL` in the outcome's folder; None if it was not kept.
        label_certainty: Probability of each voxel's label, float32; None where no labels were filled on used slices.
        label_network: The file `LABEL_NETWORK` in the outcome's folder: what was learnt about the labels; None
            likewise.
        statistics: Of `confidence` and `certainty`, by these names; empty until it has been written and read.
    """

    volume: Image
    confidence: Image
    segmentation: Segmentation | None
    report: Report
    model: Path | None
    label_certainty: Image | None = None
    label_network: Path | None = None
    statistics: Mapping[str, VoxelStatistics] = field(default_factory=dict)

    @property
    def scope(self) -> Scope:
        """Which slices were used for which voxels; raises InputError for a report that does not tell."""
        if self.report.scope is None:
            raise InputError("The report does not tell which slices were used. Run the job again.")
        return self.report.scope

    def write(self, folder: Path) -> None:
        """Write into `folder`, which must exist, whole or not at all; the files that it names must be there already.

        Raises:
            OutputError: It cannot be written.
        """
        for path, name in ((self.model, MODEL), (self.label_network, LABEL_NETWORK)):
            if path not in (None, folder / name):
                raise ValueError(f"It must be the file '{folder / name}', not '{path}'.")
        arrays = {"volume": self.volume.array, "confidence": self.confidence.array}
        if self.label_certainty is not None:
            arrays["certainty"] = self.label_certainty.array
        content = {"grid": grid_to_json(self.volume.grid), "report": self.report.to_json(),
                   "has_model": self.model is not None, "has_certainty": self.label_certainty is not None,
                   "has_label_network": self.label_network is not None,
                   "statistics": {name: VoxelStatistics.of(arrays[name]).to_json() for name in list(arrays)[1:]}}
        for _ in _parts(folder, "outcome", content, arrays, self.segmentation):
            pass

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """Read what `write` wrote; the arrays stay on the disk: drop them before the folder is deleted.

        Raises:
            InputError: The outcome is missing, damaged or of another version.
        """
        return _read(folder, "outcome", cls._from)

    @classmethod
    def _from(cls, folder: Path, content: dict[str, Any]) -> Outcome:
        grid, content = grid_in(content), {"has_certainty": False, "has_label_network": False, **content}
        model = folder / MODEL if truth(content, "has_model") else None
        label_network = folder / LABEL_NETWORK if truth(content, "has_label_network") else None
        for path in (model, label_network):
            if path is not None and not path.is_file():
                raise ValueError(f"{path.name} is missing")
        segmentation = _to_segmentation(folder, "outcome", "labels", content)
        volume, confidence = (Image(_array(folder, "outcome", name), grid) for name in ("volume", "confidence"))
        has_certainty = truth(content, "has_certainty")
        return cls(volume, confidence, segmentation, Report.from_json(content["report"]), model,
                   Image(_array(folder, "outcome", "certainty"), grid) if has_certainty else None, label_network,
                   {name: VoxelStatistics.from_json(each) for name, each in mapping(content, "statistics").items()})


def check_room(folder: Path, size: float) -> None:
    """Raise OutputError unless `size` bytes fit on the disk of `folder`."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(f"Nothing can be written to the folder '{folder}': {cause(error)}. Choose another folder for "
                          "temporary files.") from error
    if size > free:
        raise OutputError(f"The disk of '{folder}' has {free / 1e9:.2f} GB free, and {size / 1e9:.2f} GB are needed. "
                          "Free disk space, or choose another folder for temporary files.")


def check_vacancy(folder: Path, kind: str = "outcome") -> None:
    """Raise OutputError if `folder` holds a job or an outcome already, whichever `kind` says."""
    if (folder / f"{kind}.json").exists():
        raise OutputError(f"The folder '{folder}' holds {_NAMES[kind]} already. Choose an empty one.")


def write_preview(folder: Path, image: np.ndarray) -> str:
    """Replace the preview by `image` [row, column]; returns the file's name.  Raises OutputError if that fails."""
    write_array(folder / _PREVIEW, np.asarray(image, np.float32))
    return _PREVIEW


def read_preview(folder: Path, message: Message) -> np.ndarray:
    """Return the slice that a preview message is about: [row, column] float32, in units of the input.

    Raises:
        InputError: It is not there any more.
    """
    try:
        image: np.ndarray = np.load(folder / Path(message["file"]).name, allow_pickle=False)
        return image
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"The preview in '{folder}' cannot be read: {cause(error)}.") from error


def line(event: str, **fields: Any) -> str:
    """Return a message as a line of ASCII text, without its end; raises ValueError for what is no message."""
    text = json.dumps({"event": event, **fields})
    if parse(text) is None:
        raise ValueError(f"This is no message: {text}")
    return text


def parse(text: str) -> Message | None:
    """Return the message in a line of the worker's output; None if it holds none."""
    try:
        message = json.loads(text)
        wanted = _FIELDS[message["event"]]
        whole = all(isinstance(message[name], kinds) for name, kinds in wanted.items())
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return message if whole else None


def _parts(folder: Path, kind: str, content: dict[str, Any], arrays: Mapping[str, np.ndarray],
           segmentation: Segmentation | None) -> Generator[None, None, None]:
    content = {"format": FORMAT, **content, "segmentation": None}
    if segmentation is not None:
        content["segmentation"], arrays = _from_segmentation(segmentation), {**arrays, "labels": segmentation.layers}
    check_vacancy(folder, kind)
    check_room(folder, sum(array.nbytes for array in arrays.values()))
    written: list[Path] = []
    try:
        for name, array in arrays.items():
            written.append(_array_path(folder, kind, name))
            yield from array_parts(written[-1], array)
        write_json(folder / f"{kind}.json", content, durable=False)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


_FURTHER, _FURTHER_LABELS = "further_{}", "further_{}_labels"  # arrays of a further volume, by its number
_TEXTURES: dict[str, Texture] = {str(texture): texture for texture in TEXTURES}
_MOTIONS: dict[str, MotionKind] = {str(motion): motion for motion in MOTIONS}
_PROFILES: dict[str, SliceProfile] = {str(profile): profile for profile in PROFILES}
_NAMES = {"job": "a job", "outcome": "an outcome"}


def _read(folder: Path, kind: str, make: Any) -> Any:
    path = folder / f"{kind}.json"
    if not path.is_file():
        raise InputError(f"The folder '{folder}' does not hold {_NAMES[kind]}: there is no file {path.name}. It is "
                         "written last, so it may have been interrupted. Run it again.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = whole(content, "format", 1, _MOST_FORMATS)
        if version == FORMAT:
            return make(folder, content)
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, RecursionError,
            OverflowError) as error:
        raise InputError(f"'{path}' is damaged or incomplete ({type(error).__name__}: {cause(error)}). Run it again."
                         ) from error
    raise InputError(f"'{path}' has the format {version}; this program knows format {FORMAT}. Use the same version of "
                     "the program on both sides.")


def _array_path(folder: Path, kind: str, name: str) -> Path:
    return folder / f"{kind}_{name}.npy"


def _array(folder: Path, kind: str, name: str) -> np.ndarray:
    array = np.asarray(np.load(_array_path(folder, kind, name), mmap_mode="r", allow_pickle=False))
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} is no array of numbers")
    return array


def _maybe(content: Mapping[str, Any], name: str) -> float | None:
    """A number, or None."""
    return None if content[name] is None else real(content, name)


def _count_or_none(content: Mapping[str, Any], name: str, most: int) -> int | None:
    """A positive whole number, or None, also where an older program did not know of it."""
    return None if content.get(name) is None else whole(content, name, 1, most)


def _from_segmentation(segmentation: Segmentation) -> dict[str, Any]:
    return {"grid": grid_to_json(segmentation.grid), "metadata": dict(segmentation.metadata),
            "segments": [segment.to_json() for segment in segmentation.segments]}


def _to_segmentation(folder: Path, kind: str, name: str, content: Mapping[str, Any]) -> Segmentation | None:
    """The segmentation of `content`, whose layers are the array `name`."""
    if content["segmentation"] is None:
        return None
    segmentation = mapping(content, "segmentation")
    segments = tuple(map(Segment.from_json, sequence(segmentation, "segments")))
    metadata = mapping(segmentation, "metadata")
    layers = _array(folder, kind, name)
    if any(segment.layer >= len(layers) for segment in segments):
        raise ValueError("segments do not fit")
    return Segmentation(layers, segments, grid_in(segmentation), {name: text(metadata, name) for name in metadata})


def _to_image(array: np.ndarray, content: Mapping[str, Any]) -> Image:
    return Image(array, grid_in(content), _maybe(content, "padding"), text({"unit": "", **content}, "unit"))


def _from_stack(stack: StackInput) -> dict[str, Any]:
    if stack.mask is not None or stack.to_first is not None or stack.labels_on != DRAWN:
        raise ValueError("A further volume of a job has neither a mask nor a motion, and carries labels where they are "
                         "drawn.")
    return {"grid": grid_to_json(stack.image.grid), "padding": stack.image.padding, "unit": stack.image.unit,
            "axis": stack.slice_axis,
            "used": selection_to_json(stack.used), "thickness": stack.thickness, "profile": stack.profile,
            "segmentation": None if stack.segmentation is None else _from_segmentation(stack.segmentation)}


def _to_stack(folder: Path, number: int, content: Mapping[str, Any]) -> StackInput:
    """The further volume of this number."""
    image = _to_image(_array(folder, "job", _FURTHER.format(number)), content)
    return StackInput(image, axis_named(text(content, "axis")), selection_of(mapping(content, "used")),
                      _maybe(content, "thickness"), _PROFILES[text(content, "profile")],
                      _to_segmentation(folder, "job", _FURTHER_LABELS.format(number), content))
