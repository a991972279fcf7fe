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


def counted(driver: ctypes.CDLL) -> int:
    """Return how many GPUs a driver that was started shows to this process."""
    count = ctypes.c_int(0)
    return 0 if driver.cuDeviceGetCount(ctypes.byref(count)) else count.value


def gpu_count() -> int:
    """Start NVIDIA's driver if it is there; return how many GPUs it shows to this process."""
    driver = load_nvidia_driver()
    return 0 if driver is None or driver.cuInit(0) else counted(driver)
