"""The stored pixels of DICOM frames: whether they can be there, and reading them frame by frame."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any, cast

import numpy as np

from ..errors import InputError, MissingPackageError
from .dicom_compressed import is_whole_jpeg, silent_stderr
from .dicom_header import REMEDY, DicomFile, damage_of, number, numbers, text

_BITS = (1, 8, 16, 32, 64)
_FREE = 2 ** 26  # bytes of pixels that are always believed of a compressed file
_DENSEST = 3000  # times its own size that a compressed file may hold


def frame_count(file: DicomFile) -> int:
    """Return how many frames the header states."""
    return int(number(file.dataset, "NumberOfFrames", file.path.name, 1.0) or 1)


def check_pixels(file: DicomFile) -> None:
    """Raise InputError unless the pixels that the header states are there, before anything is made for them."""
    name = file.path.name
    if not file.keyword:
        raise InputError(f"'{name}' cannot be read: it ends before its pixels (cut short). {REMEDY}")
    rows, columns, bits, samples, frames = (int(x) for x in _shape(file))
    if rows < 1 or columns < 1 or frames < 1 or bits not in _BITS:
        raise InputError(f"'{name}' cannot be read: its header states {columns} x {rows} pixels of {bits} bits in "
                         f"{frames} frames. {REMEDY}")
    frame_bits = rows * columns * samples * bits
    stated = (frame_bits * frames + 7) // 8
    if file.length is None:
        if stated > _FREE + _DENSEST * file.room:
            raise InputError(f"'{name}' cannot be read: its header states {stated / 1e9:.3g} GB of pixels, which a "
                             f"file of its size cannot hold. {REMEDY}")
        return
    if file.length > file.room:
        raise InputError(f"'{name}' cannot be read: it is cut short, after {file.room} of {file.length} bytes of "
                         f"pixels. {REMEDY}")
    if file.length < stated and text(file.dataset, "PhotometricInterpretation") != "YBR_FULL_422":
        raise InputError(f"'{name}' cannot be read: its header states {stated} bytes of pixels, but there are "
                         f"{file.length} (damaged). {REMEDY}")
    if (file.length * 8) // frame_bits > frames and samples == 1:
        raise InputError(f"'{name}' cannot be read: its header states {frames} frame{'s' * (frames > 1)}, but there "
                         f"are pixels of {file.length * 8 // frame_bits}. {REMEDY}")


def _shape(file: DicomFile) -> tuple[float, ...]:
    """Rows, columns, bits, samples and frames as the header states."""
    usual = {"FloatPixelData": 32.0, "DoubleFloatPixelData": 64.0}.get(file.keyword, 0.0)
    dataset, name = file.dataset, file.path.name
    return (number(dataset, "Rows", name, 0.0), number(dataset, "Columns", name, 0.0),
            number(dataset, "BitsAllocated", name, usual), number(dataset, "SamplesPerPixel", name, 1.0),
            frame_count(file))


def is_signed(file: DicomFile) -> bool:
    """Whether stored whole numbers have a sign."""
    return text(file.dataset, "PixelRepresentation") == "1"


def stored_type(file: DicomFile) -> np.dtype:
    """Return the type of the stored values."""
    if file.keyword != "PixelData":
        return np.dtype(np.float32 if file.keyword == "FloatPixelData" else np.float64)
    size = max(int(_shape(file)[2]) // 8, 1)
    return np.dtype(f"{'i' if is_signed(file) else 'u'}{size}")


def stored_frames(file: DicomFile, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield [row, column] of each frame at `indices`, which ascend, as stored: neither rescaled nor inverted."""
    decoder, options = _decoder(file), _options(file)
    is_whole = len(indices) == options["number_of_frames"]
    what = f"its pixels ({file.transfer_syntax.name}) are"
    count = 0
    with ExitStack() as stack:
        source = stack.enter_context(file.opened())
        stack.enter_context(damage_of(file.path.name, what))
        if file.transfer_syntax.is_encapsulated:
            stack.enter_context(silent_stderr())
            source.seek(file.start)
            _check_stream(file, source, options)
        source.seek(file.start)
        for array, _ in decoder.iter_array(source, indices=None if is_whole else indices, raw=True, **options):
            yield _aligned(array, file)
            count += 1
            if count == len(indices):  # the rest of a compressed file may be more frames than it states
                return
        raise InputError(f"'{file.path.name}' cannot be read: it holds fewer frames than it states. {REMEDY}")


def _decoder(file: DicomFile) -> Any:
    """What reads the encoding of a file."""
    from pydicom.pixels import get_decoder

    syntax = file.transfer_syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(f"'{file.path.name}' cannot be read: it is encoded as '{syntax.name}', which is not known "
                         "here. Save it uncompressed, for example with dcmconv or gdcmconv --raw.") from error
    if not decoder.is_available:
        raise MissingPackageError(f"DICOM files compressed as '{syntax.name}' need python-gdcm. Install it with "
                                  "'pip install python-gdcm', or save them uncompressed.")
    return decoder


def _check_stream(file: DicomFile, source: IO[bytes], options: Mapping[str, Any]) -> None:
    """Raise InputError for JPEG pictures that are cut short or of another size, on which GDCM would hang."""
    from pydicom.encaps import generate_frames
    from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

    is_ls = file.transfer_syntax in JPEGLSTransferSyntaxes
    if not is_ls and file.transfer_syntax not in JPEGTransferSyntaxes:
        return
    encoded = generate_frames(cast(Any, source), number_of_frames=options["number_of_frames"],
                              extended_offsets=options.get("extended_offsets"))
    for index, frame in enumerate(encoded):
        if not is_whole_jpeg(frame, options["rows"], options["columns"], is_ls):
            raise InputError(f"'{file.path.name}' cannot be read: frame {index} of its compressed pixels is cut short "
                             f"or damaged. {REMEDY}")


def _options(file: DicomFile) -> dict[str, Any]:
    """What pydicom's decoders need to know of the pixels."""
    dataset, name = file.dataset, file.path.name
    rows, columns, bits, samples, frames = (int(x) for x in _shape(file))
    options: dict[str, Any] = {
        "rows": rows, "columns": columns, "bits_allocated": bits, "samples_per_pixel": samples,
        "number_of_frames": frames, "pixel_keyword": file.keyword,
        "photometric_interpretation": text(dataset, "PhotometricInterpretation") or "MONOCHROME2",
        "bits_stored": _bits_stored(file), "pixel_representation": int(is_signed(file)),
        "pixel_vr": "OB" if bits <= 8 and not _has_words(file) else "OW"}
    if not file.transfer_syntax.is_encapsulated:
        options["correct_unused_bits"] = not _is_shifted(file)
    offsets = [dataset.get(f"ExtendedOffsetTable{end}") for end in ("", "Lengths")]
    if all(offsets):
        options["extended_offsets"] = tuple(offsets)
    stated = _bits_stored(file)
    if not 1 <= stated <= bits or number(dataset, "HighBit", name, stated - 1) not in range(stated - 1, bits):
        raise InputError(f"'{name}' cannot be read: its header states {stated} bits in {bits}. {REMEDY}")
    return options


def _bits_stored(file: DicomFile) -> int:
    return int(number(file.dataset, "BitsStored", file.path.name, _shape(file)[2]))


def _has_words(file: DicomFile) -> bool:
    """Whether pixels are kept in words of two bytes, which big-endian files turn round."""
    item = file.dataset.get_item(0x7FE00010, keep_deferred=True)
    return item is not None and item.VR == "OW"


def _is_shifted(file: DicomFile) -> bool:
    """Whether the lowest bits of each stored word do not belong to the value."""
    stated = _bits_stored(file)
    return number(file.dataset, "HighBit", file.path.name, stated - 1) != stated - 1


def _aligned(array: np.ndarray, file: DicomFile) -> np.ndarray:
    """Drop bits beside the value, above and below it."""
    if file.transfer_syntax.is_encapsulated or not _is_shifted(file):
        return array
    bits, high = array.dtype.itemsize * 8, int(numbers(file.dataset, "HighBit", file.path.name)[0])
    return (array << (bits - 1 - high)) >> (bits - _bits_stored(file))
