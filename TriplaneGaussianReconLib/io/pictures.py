"""A folder of plain pictures, or a TIFF of several pages, as a volume.

Pictures tell no place.  The first pixel of the first picture lies at the origin; rows run along +x (to the left of the
patient in LPS), columns along +y, and pictures along +z, ascending with the numbers in their names.
"""
from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..data.geometry import Grid, by
from ..errors import InputError, InputNote, MissingPackageError
from .byte_streams import check_memory, check_regular
from .choice import one_slice

_EXTENSIONS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
_SAME = {".tiff": ".tif", ".jpeg": ".jpg"}
_BESIDE = (".txt", ".csv", ".xml", ".json", ".log", ".md")
_LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601
_FORMATS = ("PNG", "TIFF", "JPEG", "BMP")
_NO_COLOUR = "Pictures in colour were converted to grey levels (luma of ITU-R BT.601)."
_NO_ALPHA = "The transparency of pictures was left out."
_COPY = "Copy or export it again"
_EXAMPLE = "for example --spacing 0.5,0.5,3 (mm along the rows, the columns and from picture to picture)"

Spacing = tuple[float, float, float]


def is_picture(start: bytes) -> bool:
    """Whether a file begins as PNG, TIFF, JPEG or BMP."""
    return start[:8] == b"\x89PNG\r\n\x1a\n" or start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") \
        or start[:3] == b"\xff\xd8\xff" or (start[:2] == b"BM" and start[6:10] == bytes(4))


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures in a folder if they are most of what is there but text beside them, else nothing."""
    files = [file for file in sorted(folder.iterdir())
             if file.is_file() and not file.name.startswith((".", "Thumbs.db"))
             and file.suffix.lower() not in _BESIDE]
    pictures = [file for file in files if file.name.lower().endswith(_EXTENSIONS)]
    return pictures if 2 * len(pictures) > len(files) else []


def read_pictures(files: list[Path], spacing: Spacing | None) -> tuple[np.ndarray, Grid]:
    """Return the voxels [k, j, i] of pictures in the order of their numbers, and their grid.

    Raises InputError without a spacing, and for pictures that are no stack.
    """
    if len(files) == 1:
        return read_pages(files[0], spacing)
    side = _checked(spacing)
    ordered, numbers = _ordered(files)
    sizes: dict[Path, tuple[int, int]] = {}
    for file in ordered:
        with _opened(file) as image:
            sizes[file] = image.size
    usual = Counter(sizes.values()).most_common(1)[0][0]
    odd = [f"'{file.name}' ({by(size)})" for file, size in sizes.items() if size != usual]
    if odd:
        raise InputError(f"its {len(ordered)} pictures differ in size: most have {by(usual)} pixels, but not "
                         f"{', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''}. Keep pictures of one size.")
    check_memory(len(ordered) * usual[0] * usual[1])
    slices = []
    for file in ordered:
        with _opened(file) as image:
            slices.append(_read(image, file))
    array = _stacked(slices)
    return array, Grid(array.shape, spacing=side, depths=_depths(numbers, side[2]))


def read_pages(file: Path, spacing: Spacing | None) -> tuple[np.ndarray, Grid]:
    """Return the pages of one file, as `read_pictures` does."""
    slices = []
    with _opened(file) as image:
        pages = getattr(image, "n_frames", 1)
        if pages < 2:
            raise one_slice(by(image.size))
        side = _checked(spacing)
        check_memory(pages * image.size[0] * image.size[1])
        for page in range(pages):
            image.seek(page)
            slices.append(_read(image, file))
    if len({array.shape for array, _ in slices}) > 1:
        raise InputError("its pages differ in size (a pyramid or thumbnails). Save one stack of equal pages.")
    array = _stacked(slices)
    return array, Grid(array.shape, spacing=side)


def _stacked(slices: list[tuple[np.ndarray, str]]) -> np.ndarray:
    """Return the slices as a volume, with a note of what was left out or converted."""
    whole = sorted({str(array.dtype) for array, _ in slices})
    if len(whole) > 1:
        raise InputError(f"its pictures differ in the type of their pixels ({', '.join(whole)}), so that their values "
                         "cannot be compared. Save all in one type.")
    for done in sorted({done for _, done in slices} - {""}):
        warnings.warn(done, InputNote, stacklevel=6)
    return np.stack([array for array, _ in slices])


def _checked(spacing: Spacing | None) -> Spacing:
    if spacing is None:
        raise InputError(f"plain pictures do not tell the voxel spacing. Give it, {_EXAMPLE}.")
    if len(spacing) != 3 or not all(np.isfinite(side) and side > 0 for side in spacing):
        raise InputError(f"a spacing is three numbers above 0, not {spacing}. Give it, {_EXAMPLE}.")
    return spacing


def _ordered(files: list[Path]) -> tuple[list[Path], list[int]]:
    """Return files by the number that tells the slice, and these numbers, which are empty where there are none.

    It is the last number in the name that is another in each name; where several are, they have to agree.
    """
    parts = {file: re.split(r"(\d+)", file.stem) for file in files}
    groups: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file, words in parts.items():
        groups[tuple(words[::2] + [_SAME.get(file.suffix.lower(), file.suffix.lower())])].append(file)
    if len(groups) > 1:
        listing = "; ".join(f"'{group[0].name}' and {len(group) - 1} more" for group in list(groups.values())[:5])
        raise InputError(f"it holds pictures of {len(groups)} different names ({listing}). Keep one stack of numbered "
                         "pictures in the folder.")
    values = {file: [int(word) for word in words[1::2]] for file, words in parts.items()}
    varying = [n for n in range(len(next(iter(values.values()))))
               if len({numbers[n] for numbers in values.values()}) > 1]
    if len(varying) > 1:
        varying = _agreeing(files, values, varying)
    if not varying:
        raise InputError(f"several pictures have the same number, as '{files[0].name}' and '{files[1].name}'. Keep one "
                         "of each.")
    ordered = sorted(files, key=lambda file: values[file][varying[-1]])
    numbers = [values[file][varying[-1]] for file in ordered]
    if len(set(numbers)) < len(numbers):
        twice = [file.name for file, number in zip(ordered, numbers, strict=True) if numbers.count(number) > 1]
        raise InputError(f"several pictures have the same number, as '{twice[0]}' and '{twice[1]}'. Keep one of each.")
    return ordered, numbers


def _agreeing(files: list[Path], values: dict[Path, list[int]], varying: list[int]) -> list[int]:
    """Return which of the varying numbers tell each picture from all others.

    Raises InputError if none does, if the last of them has another order than the first number that varies, as in
    times of day, or if it is the whole part of a decimal number.
    """
    single = [n for n in varying if len({values[file][n] for file in files}) == len(files)]
    if not single:
        raise InputError("it holds several numbered stacks of pictures, as the names "
                         f"'{files[0].name}' and '{files[-1].name}' tell. Keep one stack in the folder.")
    first = [values[file][varying[0]] for file in sorted(files, key=lambda file: values[file][single[-1]])]
    is_decimal = single[-1] != varying[-1] and re.split(r"\d+", files[0].stem)[single[-1] + 1] == "."
    if is_decimal or first != sorted(first) and not (varying[0] in single and first == sorted(first, reverse=True)):
        raise InputError(f"the numbers in the names of its pictures tell different orders, as '{files[0].name}' and "
                         f"'{files[-1].name}'. Name them by one number, from slice to slice.")
    return single


def _depths(numbers: list[int], side: float) -> tuple[float, ...]:
    """Where the pictures lie if numbers are missing, which a note tells; nothing if none is."""
    steps = np.diff(numbers)
    least = int(steps.min())
    if (steps == least).all():
        return ()
    usual = Counter(steps.tolist()).most_common(1)[0][0]
    if usual != least or (steps % least).any():
        raise InputError(f"the numbers of its pictures are not regular ({', '.join(map(str, numbers[:6]))}, ...). "
                         "Number them from slice to slice.")
    missing = int((steps // least - 1).sum())
    what = "1 picture is" if missing == 1 else f"{missing} pictures are"
    warnings.warn(f"{what} missing between the numbers {numbers[0]} and {numbers[-1]}; the others keep "
                  "their places.", InputNote, stacklevel=6)
    return tuple(float(number - numbers[0]) / least * side for number in numbers)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open a picture, whose pixels are not read yet.  What Pillow meets in it is raised as InputError."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError("Plain pictures need Pillow. Install it with 'pip install Pillow'.") from error
    try:
        check_regular(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd tags, and of half the size that is refused
            with Image.open(file, formats=_FORMATS) as image:
                yield image
    except Exception as error:  # its plug-ins raise whatever damaged files make them meet
        if isinstance(error, (InputError, MemoryError)):
            raise
        size = " or far too large" if "Bomb" in type(error).__name__ else ""
        raise InputError(f"the picture '{file.name}' cannot be read: it is empty, damaged, cut short{size}. {_COPY}, "
                         "or take it out of the folder.") from error


def _read(image: Any, file: Path) -> tuple[np.ndarray, str]:
    """Return [row, column] of a picture, and what a note has to tell of it."""
    is_deep = image.mode in ("RGB", "RGBA", "LA") and any("16" in str(tile[3]) for tile in image.tile)
    image.load()
    if is_deep:
        colours = _deep_colours(image, file)
    elif image.mode in ("LA", "La", "PA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"):
        colours = np.asarray(image.convert("RGB"))
    else:
        array = np.asarray(image.convert("L") if image.mode == "1" else image)
        return array.astype(array.dtype.newbyteorder("="), copy=False), ""
    if (colours == colours[..., :1]).all():
        has_alpha = image.mode in ("LA", "La", "PA", "RGBA")
        return np.ascontiguousarray(colours[..., 0]), _NO_ALPHA if has_alpha else ""
    return np.rint(colours @ _LUMA).astype(colours.dtype), _NO_COLOUR


def _deep_colours(image: Any, file: Path) -> np.ndarray:
    """[row, column, red green blue] of 16 bits, of which Pillow keeps eight."""
    import cv2

    has_pages = getattr(image, "n_frames", 1) > 1
    pixels = None if has_pages else cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise InputError(f"the picture '{file.name}' has 16 bits per colour. Convert it to grey levels of 16 bits.")
    return pixels[..., 2::-1]  # OpenCV has blue first
