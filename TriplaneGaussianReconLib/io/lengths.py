"""Units of length that headers name."""
from __future__ import annotations

import warnings

from ..errors import InputNote

_MILLIMETRES = {"m": 1000.0, "meter": 1000.0, "meters": 1000.0, "metre": 1000.0, "cm": 10.0, "centimeter": 10.0,
                "centimeters": 10.0, "um": 0.001, "µm": 0.001, "μm": 0.001, "micron": 0.001, "microns": 0.001,
                "micrometer": 0.001, "micrometers": 0.001, "nm": 1e-6, "nanometer": 1e-6, "nanometers": 1e-6,
                "in": 25.4, "inch": 25.4}


def in_mm(unit: str, stacklevel: int) -> float:
    """Return how many mm a unit is; a note says so where it is another one.  Unknown units are taken for mm."""
    factor = _MILLIMETRES.get(unit.strip().lower(), 1.0)
    if factor != 1.0:
        warnings.warn(f"Lengths were converted from {unit.strip()}, in which the file has them, to mm.", InputNote,
                      stacklevel=stacklevel + 1)
    return factor
