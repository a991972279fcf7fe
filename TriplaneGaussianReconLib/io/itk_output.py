"""Files in the formats of SimpleITK, written plane by plane: SimpleITK would hold the whole volume a second time.

The header is the one that SimpleITK writes of a small image of the same kind; the sizes are put right in it, and the
voxels follow.
"""
from __future__ import annotations

import math
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from ..data.conversions import simpleitk, stored_type, to_sitk
from ..data.geometry import Grid, by
from .planes import Planes, planes_as

_LEVELS = {".nrrd": 2, ".mha": 2, ".gz": 6}  # of compression, as SimpleITK has them
_LOST = "its header did not arrive"  # of which NrrdIO, for one, does not tell
_GZIP, _ZLIB = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS
_NIFTI_HEADER, _NIFTI_SIZES, _NIFTI_MOST = 352, 42, 2 ** 15 - 1  # bytes; where i, j and k stand; what each may be


def write_itk(path: Path, voxels: Planes, grid: Grid, metadata: Mapping[str, str]) -> None:
    """Write voxels [k, j, i] or [k, j, i, layer], compressed where the format can.

    metadata: further header fields.  Raises OSError, ValueError or RuntimeError if that fails.
    """
    if grid.is_sheared:
        raise ValueError("the axes are not at right angles, which only .npz can hold")
    dtype = stored_type(voxels.dtype)
    header = _header_of_small(path, voxels.shape, dtype, grid, metadata)
    planes = planes_as(voxels, dtype)
    with path.open("wb") as file:
        if path.suffix == ".nrrd":
            file.write(_nrrd_header(header, voxels.shape))
            _write(file, _packed(planes, _LEVELS[path.suffix], _GZIP))
        elif path.suffix == ".mha":
            _write_mha(file, header, planes, voxels.shape)
        else:
            whole = _nifti(_nifti_header(header, voxels.shape), planes)
            _write(file, whole if path.suffix == ".nii" else _packed(whole, _LEVELS[path.suffix], _GZIP))
    _check_readable(path, voxels.shape)


def _header_of_small(path: Path, shape: Sequence[int], dtype: np.dtype, grid: Grid, metadata: Mapping[str, str]
                     ) -> bytes:
    """Write an image of at most two voxels a side, so that axes of a single one stay such; return its file's bytes."""
    image = to_sitk(np.zeros((*(min(n, 2) for n in shape[:3]), *shape[3:]), dtype), grid)
    for key, value in metadata.items():
        image.SetMetaData(key, value)
    simpleitk().WriteImage(image, str(path), useCompression=True)
    content = path.read_bytes()
    try:
        return zlib.decompress(content, wbits=_GZIP) if path.suffix == ".gz" else content
    except zlib.error as error:
        raise OSError(_LOST) from error


def _nrrd_header(content: bytes, shape: Sequence[int]) -> bytes:
    header, end, _ = content.partition(b"\n\n")
    header = _replaced(header, rb"^sizes: .*$", b"sizes: " + _sizes([*shape[3:], *shape[2::-1]]))
    if len(shape) == 4:  # ITK can only call the first axis 'vector'; in Slicer's files it is the 'list' of layers
        header = _replaced(header, rb"^kinds: vector ", b"kinds: list ")
    return header + end


def _nifti_header(content: bytes, shape: Sequence[int]) -> bytes:
    if max(shape) > _NIFTI_MOST:
        raise ValueError(f"NIfTI holds {_NIFTI_MOST} voxels a side at most")
    if len(content) < _NIFTI_HEADER:
        raise OSError(_LOST)
    sizes = np.array(shape[2::-1], np.int16).tobytes()
    return content[:_NIFTI_SIZES] + sizes + content[_NIFTI_SIZES + len(sizes):_NIFTI_HEADER]


def _nifti(header: bytes, planes: Iterator[memoryview]) -> Iterator[bytes | memoryview]:
    yield header
    yield from planes


def _write_mha(file: IO[bytes], content: bytes, planes: Iterator[memoryview], shape: Sequence[int]) -> None:
    """Write packed voxels aside first: how long they are stands before them."""
    header, _, rest = content.partition(b"ElementDataFile")
    with TemporaryFile(dir=Path(file.name).parent) as packed:
        _write(packed, _packed(planes, _LEVELS[".mha"], _ZLIB))
        header = _replaced(header, rb"^CompressedDataSize = .*$", b"CompressedDataSize = %d" % packed.tell())
        header = _replaced(header, rb"^DimSize = .*$", b"DimSize = " + _sizes(shape[2::-1]))
        file.write(header + b"ElementDataFile" + rest.partition(b"\n")[0] + b"\n")
        packed.seek(0)
        shutil.copyfileobj(packed, file, 1 << 20)


def _sizes(numbers: Sequence[int]) -> bytes:
    return " ".join(map(str, numbers)).encode()


def _replaced(header: bytes, line: bytes, text: bytes) -> bytes:
    changed, count = re.subn(line, lambda _: text, header, count=1, flags=re.MULTILINE)
    if not count:
        raise OSError(_LOST)
    return changed


def _packed(blocks: Iterator[bytes | memoryview], level: int, container: int) -> Iterator[bytes]:
    packer = _zlib().compressobj(level, wbits=container)
    for block in blocks:
        yield packer.compress(block)
    yield packer.flush()


def _zlib() -> Any:
    """What SimpleITK packs with, up to twice as fast as Python's own, which does where it is not installed."""
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib
    return zlib_ng


def _write(file: IO[bytes], blocks: Iterator[bytes | memoryview]) -> None:
    for block in blocks:
        file.write(block)


def _check_readable(path: Path, shape: Sequence[int]) -> None:
    """Raise OSError unless SimpleITK finds as many voxels in the header that was put together."""
    reader = simpleitk().ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if math.prod(reader.GetSize()) != math.prod(shape[:3]):
        raise OSError(f"its header tells the size {by(reader.GetSize())} instead of {by(shape[2::-1])}")
