"""What to read of a path that holds several things, and what it does not tell itself."""
from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Choice:
    """What is wanted of a path.

    Attributes:
        series: Which DICOM series of a folder: its UID, number or description; empty for the largest.
        volume_number: Which volume, counted from 1, where there are several (time points, echoes, ...); None where the
            caller expects one alone.
        spacing: mm along i, j, k, for a folder of plain pictures, which do not tell it; None for all else.
    """

    series: str = ""
    volume_number: int | None = None
    spacing: tuple[float, float, float] | None = None


def volume_index(count: int, number: int | None, sizes: str) -> int:
    """Return the index, from 0, of the chosen one of `count` volumes.

    sizes: of them all, as people write them.  Raises InputError unless there is one alone or a right choice was made.
    """
    if number is not None and 1 <= number <= count:
        return number - 1
    if number is None and count == 1:
        return 0
    if count == 1:
        raise InputError(f"it holds one volume, so that there is no volume {number}. Leave out --volume-number.")
    asked = "" if number is None else f", but no volume {number}"
    raise InputError(f"it holds {count} volumes ({sizes}: time points, echoes or the like){asked}. Choose one with "
                     f"--volume-number, 1 to {count} (in Python volume_number).")


def one_slice(sizes: str) -> InputError:
    """Return what to raise for a picture of two dimensions."""
    return InputError(f"it has 2 dimensions, {sizes}: it is one slice, and at least two are needed. Give the whole "
                      "volume.")


def several_values(count: int) -> InputError:
    """Return what to raise for voxels of more than one value, of which none was chosen."""
    return InputError(f"it has {count} values per voxel (colour, vectors or several volumes). Choose one with "
                      f"--volume-number, 1 to {count} (in Python volume_number), extract one, or convert colour to "
                      "grey levels. Segments in layers need the header fields of a .seg.nrrd, 'Segment0_ID' and so on.")
