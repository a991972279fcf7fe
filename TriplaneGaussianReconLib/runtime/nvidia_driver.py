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


def gpu_count() -> int:
    """Return how many GPUs NVIDIA's driver shows to this process."""
    driver, count = load_nvidia_driver(), ctypes.c_int(0)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
