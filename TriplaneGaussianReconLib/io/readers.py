"""Images, label maps and 3D Slicer's `.seg.nrrd` on disk.

Everything but `.npz` needs SimpleITK, and reading NIfTI needs nibabel; both are imported only where they are used.  An
`.npz` holds `array` [k, j, i], `origin` (3,) mm LPS, `spacing` (3,) mm along i, j, k, and `direction` (3, 3), as in
`Grid`.
"""
from __future__ import annotations

import colorsys
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..data.geometry import Grid
from ..data.images import Image, Segment, Segmentation, smallest_label_type, voxel_offset, whole_labels
from ..errors import InputError, MissingPackageError, cause
from .atomic import check_output, whole_file
from .dicom import as_stored, read_slices, series_files
from .nifti import is_nifti, read_nifti

WRITABLE_EXTENSIONS = (".nrrd", ".nii.gz", ".nii", ".mha", ".npz")  # one file each, and exact about geometry
_READABLE = "NRRD, NIfTI, MetaImage or another format that SimpleITK knows, a folder of DICOM slices, or .npz"
_NPZ_KEYS = ("array", "origin", "spacing", "direction")
_LAST_LINES = {".nrrd": b"\n", ".mha": b"ElementDataFile"}  # how the last line of a header of text begins
_REFERENCE_GEOMETRY = re.compile(r"(?<=Reference image geometry\|)[^|&]*")

PathLike = str | os.PathLike[str]


def read_image(path: PathLike) -> Image:
    """Read a scalar volume; the voxel type is that of the file.

    path: a file, or a folder that holds the slices of one DICOM series.  Of several series the one with most slices is
    read, with a warning that lists them.
    Raises InputError if there is nothing readable, or if it is no evenly spaced scalar volume of three dimensions.
    """
    path = Path(path)
    array, grid, _ = _read(path)
    if array.ndim == 4:
        raise InputError(f"'{path}' has {array.shape[-1]} values per voxel (colour, vectors or several layers). "
                         "Extract one component, or convert colour to grey levels, and use that file.")
    return Image(array, grid)


def write_image(path: PathLike, image: Image) -> None:
    """Write `image`, compressed where the format can; the file at `path` appears whole or stays as it was.

    Raises InputError for an unusable extension, OutputError if the file cannot be written.
    """
    _write_whole(Path(path), lambda file: _write(file, image.array, image.grid))


def read_segmentation(path: PathLike) -> Segmentation:
    """Read a label map (one segment per value other than 0) or a `.seg.nrrd` (its own segments, overlapping or not).

    The header fields of a `.seg.nrrd` are kept in `metadata`.  Slicer crops what it saves to the segments, so the
    grid may be smaller than the volume's; `aligned_to` brings it there.
    Raises InputError if there is nothing readable, no segment, or voxels other than whole numbers.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"'{path}' is a folder. Give a segmentation file: a .seg.nrrd or a label map.")
    array, grid, metadata = _read(path)
    try:
        if "Segment0_ID" in metadata:
            return _slicer_segmentation(array, grid, metadata)
        if array.ndim == 4:
            raise InputError(f"It has {array.shape[-1]} values per voxel, but no header field 'Segment0_ID' that makes "
                             "it a .seg.nrrd. Save it as a label map, or as .seg.nrrd in 3D Slicer.")
        return Segmentation.from_labelmap(array, grid)
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error


def write_segmentation(path: PathLike, segmentation: Segmentation) -> None:
    """Write a `.seg.nrrd`, or with any other extension a label map; the file appears whole or stays as it was.

    A `.seg.nrrd` keeps everything.  A label map keeps the label values alone, in the smallest integer type; where
    segments overlap the later one wins, and segments of equal value are numbered anew, both with a warning.
    Raises InputError for an unusable extension, OutputError if the file cannot be written.
    """
    path = Path(path)
    check_writable(path)
    if not path.name.lower().endswith(".seg.nrrd"):
        labels = _flattened(segmentation)
        _write_whole(path, lambda file: _write(file, labels, segmentation.grid))
        return
    layers = segmentation.layers
    if layers.dtype.itemsize > 4:  # Slicer's segments have 32 bits at most
        layers = layers.astype(smallest_label_type(int(layers.min()), int(layers.max())))
    array = layers[0] if len(layers) == 1 else np.moveaxis(layers, 0, -1)
    header = _slicer_header(segmentation)
    _write_whole(path, lambda file: _write(file, array, segmentation.grid, header))


def check_writable(path: PathLike) -> None:
    """Find out before long work whether `path` can be written later.

    Raises InputError for an unusable extension, OutputError if the folder is missing or cannot be written to,
    MissingPackageError if the format needs SimpleITK and it is not installed.
    """
    path = Path(path)
    if _extension(path) != ".npz":
        _simpleitk()
    check_output(path)


# Reading ------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[np.ndarray, Grid, dict[str, str]]:
    """Return voxels [k, j, i] or [k, j, i, component], their grid, and the header fields that are not geometry."""
    if not path.exists():
        raise InputError(f"'{path}' does not exist. Give {_READABLE}.")
    try:
        if path.is_dir():
            array, grid, metadata = _read_folder(path)
        elif is_nifti(path):
            array, grid, metadata = *read_nifti(path), {}
        elif path.suffix.lower() == ".npz":
            array, grid, metadata = _read_npz(path)
        else:
            array, grid, metadata = _read_file(path)
    except InputError as error:
        raise InputError(f"'{path}' cannot be used: {error}") from error
    if _is_sheared(grid):
        raise InputError(f"'{path}' cannot be used: its axes are not at right angles (sheared voxels). Resample it "
                         "onto a grid with perpendicular axes first.")
    return array, grid, metadata


def _read_npz(path: Path) -> tuple[np.ndarray, Grid, dict[str, str]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in _NPZ_KEYS if key not in file]
            if missing:
                raise InputError(f"it lacks {', '.join(missing)}. An .npz needs the arrays {', '.join(_NPZ_KEYS)}.")
            array, origin, spacing, direction = (file[key] for key in _NPZ_KEYS)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"it is no readable .npz ({cause(error)}). Write it with numpy.savez.") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"its voxels are of type {array.dtype}. Convert them to real numbers.")
    if array.ndim != 3:
        raise InputError(f"its array has {array.ndim} dimensions. Give one volume [k, j, i].")
    if origin.size != 3 or spacing.size != 3 or direction.size != 9:
        raise InputError("origin and spacing need three values each, direction nine.")
    return array.astype(np.uint8) if array.dtype == bool else array, _grid(array, origin, spacing, direction), {}


def _read_file(path: Path) -> tuple[np.ndarray, Grid, dict[str, str]]:
    sitk = _simpleitk()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        path.open("rb").close()
        reader.ReadImageInformation()
        size = list(reader.GetSize())
        if len(size) == 4 and size[3] == 1:
            reader.SetExtractSize([*size[:3], 0])
        elif len(size) != 3:
            raise InputError(f"it has {len(size)} dimensions, {' x '.join(map(str, size))}. Give one volume of three "
                             "dimensions; extract one frame of a series of volumes.")
        if reader.HasMetaDataKey("Seq_Frame0000_Timestamp"):
            raise InputError("it is a sequence of tracked 2D frames, which are no parallel slices. Reconstruct a "
                             "volume from them first.")
        if size[2] == 1 and reader.HasMetaDataKey("0008|0016"):
            raise InputError("it is a single DICOM slice. Give the folder that holds all slices of the series.")
        array, grid, metadata = _from_sitk(sitk, reader.Execute())
        return as_stored(array, reader), grid, metadata
    except (OSError, RuntimeError) as error:
        problem = cause(error)
        if "orthonormal" in problem:
            raise InputError("its axes are not at right angles (sheared voxels), or its header is damaged. Resample "
                             "it onto a grid with perpendicular axes first.") from error
        raise InputError(f"{problem}. Give {_READABLE}.") from error


def _read_folder(folder: Path) -> tuple[np.ndarray, Grid, dict[str, str]]:
    """Read the largest DICOM series directly in `folder`."""
    sitk = _simpleitk()
    files = series_files(sitk, folder)
    if len(files) == 1:
        return _read_file(Path(files[0]))  # one file with many frames, or a lone slice, which is refused
    return (*read_slices(sitk, files), {})


def _from_sitk(sitk: ModuleType, image: Any) -> tuple[np.ndarray, Grid, dict[str, str]]:
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError("its voxels are complex numbers. Save their magnitude, and use that file.")
    array = sitk.GetArrayFromImage(image)
    metadata = {key: _text(image.GetMetaData(key)) for key in image.GetMetaDataKeys()
                if not key.startswith(("ITK_", "NRRD_"))}
    return array, _grid(array, image.GetOrigin(), image.GetSpacing(), image.GetDirection()), metadata


def _text(field: str) -> str:
    """Return a header field as it was meant: SimpleITK escapes bytes that are not UTF-8, then they are Latin-1."""
    raw = field.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _grid(array: np.ndarray, origin: Any, spacing: Any, direction: Any) -> Grid:
    return Grid(array.shape[:3], tuple(np.ravel(origin)), tuple(np.ravel(spacing)),
                tuple(map(tuple, np.reshape(direction, (3, 3)))))


def _slicer_segmentation(array: np.ndarray, grid: Grid, metadata: Mapping[str, str]) -> Segmentation:
    """Make the segments that the header fields `SegmentN_...` describe; old files lack layer and label value."""
    layers = np.ascontiguousarray(np.moveaxis(array, -1, 0)) if array.ndim == 4 else array[None]
    layers = whole_labels(layers)
    segments: list[Segment] = []
    while (prefix := f"Segment{len(segments)}_") + "ID" in metadata:
        identifier = metadata[prefix + "ID"]
        try:
            value = int(metadata.get(prefix + "LabelValue", 1))
            layer = int(metadata.get(prefix + "Layer", len(segments)))
        except ValueError as error:
            raise InputError(f"The header field {prefix}LabelValue or {prefix}Layer is no number. Save the "
                             "segmentation again in 3D Slicer.") from error
        if not 0 <= layer < len(layers):
            raise InputError(f"Segment '{identifier}' is said to lie in layer {layer}, but the file has {len(layers)}. "
                             "Save the segmentation again in 3D Slicer.")
        segments.append(Segment(metadata.get(prefix + "Name", identifier), value, layer, identifier,
                                _parse_color(metadata.get(prefix + "Color", ""))))
    return Segmentation(layers, tuple(segments), grid, dict(metadata))


def _parse_color(text: str) -> tuple[float, float, float] | None:
    try:
        red, green, blue = map(float, text.split())
    except ValueError:
        return None
    return red, green, blue


# Writing ------------------------------------------------------------------------------------------------------------


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there."""
    check_writable(path)
    with whole_file(path) as part:
        write(part)


def _write(path: Path, array: np.ndarray, grid: Grid, metadata: Mapping[str, str] | None = None) -> None:
    """Write voxels [k, j, i] or [k, j, i, layer] to `path`; `metadata` are further header fields."""
    if path.suffix == ".npz":
        np.savez_compressed(path, array=array, origin=grid.origin, spacing=grid.spacing, direction=grid.direction)
        return
    if _is_sheared(grid):
        raise ValueError("the axes are not at right angles, which only .npz can hold")
    sitk = _simpleitk()
    unsupported = {"bool": np.uint8, "float16": np.float32, "float128": np.float64}
    dtype = np.dtype(unsupported.get(array.dtype.name, array.dtype)).newbyteorder("=")
    image = sitk.GetImageFromArray(array.astype(dtype, copy=False), isVector=array.ndim == 4)
    image.SetOrigin(grid.origin)
    image.SetSpacing(grid.spacing)
    image.SetDirection([x for row in grid.direction for x in row])
    for key, value in (metadata or {}).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)
    if array.ndim == 4:  # ITK can only call the first axis 'vector'; in Slicer's files it is the 'list' of layers
        path.write_bytes(path.read_bytes().replace(b"\nkinds: vector ", b"\nkinds: list ", 1))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    header = int(float(reader.GetMetaData("vox_offset"))) if reader.HasMetaDataKey("vox_offset") else 0
    _check_stored(path, header, sitk.GetArrayViewFromImage(image).reshape(-1).view(np.uint8))


def _check_stored(path: Path, header: int, voxels: np.ndarray) -> None:
    """Raise OSError unless a file that was just written holds these bytes, after `header` bytes of a binary header.

    NrrdIO, for one, does not notice when there is no room for the last of them.
    """
    done = 0
    for block in _stored(path):
        skipped = min(header, len(block))
        header -= skipped
        there = np.frombuffer(block, np.uint8, offset=skipped)
        if not np.array_equal(there, voxels[done:done + len(there)]):
            break
        done += len(there)
    if done < len(voxels):
        raise OSError(f"only {done} of {len(voxels)} bytes of voxels arrived")


def _stored(path: Path) -> Iterator[bytes]:
    """Yield, block by block and decompressed, what `_write` has put into a file after its header of text, if any."""
    with path.open("rb") as file:
        if path.suffix in _LAST_LINES:
            while (line := file.readline()) and not line.startswith(_LAST_LINES[path.suffix]):
                pass
        blocks = iter(lambda: file.read(1 << 16), b"")
        if path.suffix == ".nii":
            yield from blocks
            return
        decoder = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # of zlib or gzip
        try:
            yield from filter(None, map(decoder.decompress, blocks))
        except zlib.error as error:
            raise OSError(cause(error)) from error
        if not decoder.eof:
            raise OSError("the last bytes did not arrive")


def _flattened(segmentation: Segmentation) -> np.ndarray:
    """Return one label map [k, j, i] of all segments."""
    segments = segmentation.segments
    values = [segment.value for segment in segments]
    if len(set(values)) < len(values):
        values = list(range(1, len(values) + 1))
        listing = ", ".join(f"{value} = {segment.name}" for value, segment in zip(values, segments, strict=True))
        warnings.warn(f"Segments of different layers share a label value. The label map numbers them anew: {listing}. "
                      "Use .seg.nrrd to keep them as they are.", stacklevel=3)
    labels = np.zeros(segmentation.grid.shape, smallest_label_type(min(values, default=0), max(values, default=0)))
    overlap = False
    for number, mask in segmentation.masks():
        overlap = overlap or bool(labels[mask].any())
        labels[mask] = values[number]
    if overlap:
        warnings.warn("Segments overlap, which a label map cannot hold: the later segment wins. Use .seg.nrrd to keep "
                      "them whole.", stacklevel=3)
    return labels


def _slicer_header(segmentation: Segmentation) -> dict[str, str]:
    """Return the header fields of a `.seg.nrrd`: those of `metadata`, brought up to date with segments and grid."""
    header = {"Segmentation_MasterRepresentation": "Binary labelmap",
              "Segmentation_ContainedRepresentationNames": "Binary labelmap|"}
    fields: dict[str, dict[str, str]] = {}  # of each segment in the metadata, by the number there
    for key, value in segmentation.metadata.items():
        if match := re.fullmatch(r"Segment(\d+)_(.+)", key):
            fields.setdefault(match[1], {})[match[2]] = value
        else:
            header[key] = value
    known = {field["ID"]: field for field in fields.values() if "ID" in field}
    taken = {segment.identifier for segment in segmentation.segments}
    # Slicer crops a layer to the extent of its first segment, so each gets that of the whole layer.
    extent = " ".join(f"0 {n - 1}" for n in reversed(segmentation.grid.shape))
    for number, segment in enumerate(segmentation.segments):
        identifier = segment.identifier
        if not identifier:
            identifier = next(name for n in range(number + 1, number + len(taken) + 2)
                              if (name := f"Segment_{n}") not in taken)
            taken.add(identifier)
        color = segment.color or colorsys.hsv_to_rgb(segment.value * 0.618034 % 1, 0.6, 0.9)
        entry = {"NameAutoGenerated": "0", "ColorAutoGenerated": "0" if segment.color else "1", "Tags": "",
                 **known.get(identifier, {}), "ID": identifier, "Name": segment.name,
                 "Color": " ".join(f"{x:.6g}" for x in color), "LabelValue": str(segment.value),
                 "Layer": str(segment.layer), "Extent": extent}
        header.update({f"Segment{number}_{field}": text for field, text in entry.items()})
    parameters = header.get("Segmentation_ConversionParameters", "")  # 'name|value|description&' of each
    if parameters and not parameters.endswith("&"):
        parameters += "&"
    offset = _reference_offset(parameters, segmentation.grid)
    if offset is None:
        offset = (0, 0, 0)
        geometry = _reference_geometry(segmentation.grid)
        if not _REFERENCE_GEOMETRY.search(parameters):
            parameters += "Reference image geometry||Geometry of the volume that was segmented.&"
        header["Segmentation_ConversionParameters"] = _REFERENCE_GEOMETRY.sub(geometry, parameters)
    header["Segmentation_ReferenceImageExtentOffset"] = " ".join(map(str, offset))
    return header


def _reference_geometry(grid: Grid) -> str:
    """Return `grid` as Slicer writes it: 16 numbers of the matrix from index to RAS mm, then the index extent."""
    matrix = np.diag([-1, -1, 1, 1]) @ grid.ijk_to_lps
    extent = [x for n in reversed(grid.shape) for x in (0, n - 1)]
    return "".join(f"{x};" for x in [*(float(x) for x in matrix.ravel()), *extent])


def _reference_offset(parameters: str, grid: Grid) -> tuple[int, int, int] | None:
    """Return the index of `grid`'s first voxel in the reference geometry of `parameters`, None if it fits none."""
    match = _REFERENCE_GEOMETRY.search(parameters)
    try:
        numbers = np.array([float(x) for x in match[0].split(";") if x]) if match else np.empty(0)
        matrix = np.diag([-1, -1, 1, 1]) @ numbers[:16].reshape(4, 4)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        reference = Grid((1, 1, 1), tuple(matrix[:3, 3]), tuple(spacing), tuple(map(tuple, matrix[:3, :3] / spacing)))
    except ValueError:  # includes InputError
        return None
    return voxel_offset(reference, grid)


# Both ---------------------------------------------------------------------------------------------------------------


def _simpleitk() -> ModuleType:
    try:
        import SimpleITK
    except ImportError as error:
        raise MissingPackageError("Medical image formats need SimpleITK. Install it with 'pip install SimpleITK', or "
                                  "use .npz files.") from error
    return SimpleITK


def _is_sheared(grid: Grid) -> bool:
    axes = np.asarray(grid.direction)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3)


def _extension(path: Path) -> str:
    for extension in WRITABLE_EXTENSIONS:
        if path.name.lower().endswith(extension):
            return extension
    raise InputError(f"'{path}' has no extension that can be written. Use {', '.join(WRITABLE_EXTENSIONS)}, or "
                     ".seg.nrrd for a segmentation.")
