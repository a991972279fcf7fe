"""Whether NVIDIA's driver is installed.  Needs no torch."""
from __future__ import annotations

import ctypes
import sys


def load_nvidia_driver() -> ctypes.CDLL | None:
    """Return the driver as a library with the functions of the CUDA driver API; None where there is none."""
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
