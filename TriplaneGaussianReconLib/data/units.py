"""Units of grey values, where they are known."""
from __future__ import annotations

import numpy as np

HOUNSFIELD = "HU"

_AIR, _TISSUE, _BETWEEN, _METAL = (-1100, -900), (-150, 150), (-850, -200), (900, 1100)  # Hounsfield units
_SOME, _MUCH = 0.01, 0.1  # share of the voxels


def guessed_unit(array: np.ndarray) -> str:
    """Return the unit that values have for certain, empty where there is doubt.

    Hounsfield units show: air and soft tissue lie a thousand apart, with little between them and hardly anything as far
    above zero as air is below.  CT of the inside of a body alone has no air, and is not told from MR.

    Args:
        array: any shape and number type.

    Example:
        >>> air, liver, bone = np.full(400, -1000), np.full(500, 60), np.full(50, 700)
        >>> guessed_unit(np.concatenate([air, liver, bone]))
        'HU'
        >>> guessed_unit(liver)
        ''
    """
    values = array.ravel()
    values = values[::max(1, values.size // 10 ** 6)]

    def share(limits: tuple[int, int]) -> float:
        return float(np.mean((values >= limits[0]) & (values <= limits[1])))

    air, tissue, between, metal = share(_AIR), share(_TISSUE), share(_BETWEEN), share(_METAL)
    is_certain = air >= _SOME and tissue >= _MUCH and between < 0.5 * tissue and metal < 0.2 * air
    return HOUNSFIELD if is_certain else ""
