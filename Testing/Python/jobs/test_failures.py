"""Whatever goes wrong, the user is told the cause and the remedy, in the same words everywhere."""
from __future__ import annotations

import errno
import subprocess
import sys

import pytest
import torch
from repository import ROOT

from TriplaneGaussianReconLib.errors import (
    BackendUnavailableError,
    Cancelled,
    InputError,
    MissingPackageError,
    OutputError,
    ReconstructionError,
)
from TriplaneGaussianReconLib.jobs.failures import FailureKind, explained
from TriplaneGaussianReconLib.runtime import memory

assert memory  # what knows of GPUs is loaded, as it is where torch has run out of memory


@pytest.mark.parametrize(("error", "kind", "text"), [
    (InputError("Crop it."), FailureKind.INPUT, "Crop it."),
    (BackendUnavailableError("No GPU. Use 'cpu'."), FailureKind.DEVICE, "No GPU. Use 'cpu'."),
    (OutputError("The disk is full. Free it."), FailureKind.OUTPUT, "The disk is full. Free it."),
    (OSError(errno.ENOSPC, "No space left on device"), FailureKind.OUTPUT, "The disk is full. Free disk space"),
    (MissingPackageError("Install psutil."), FailureKind.PACKAGE, "Install psutil."),
    (ModuleNotFoundError("No module named 'scipy'"), FailureKind.PACKAGE,
     "No module named 'scipy'. Install the packages again."),
    (MemoryError(), FailureKind.MEMORY, "not enough memory"),
    (torch.OutOfMemoryError("CUDA out of memory"), FailureKind.MEMORY, "crop the volume"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), FailureKind.MEMORY,
     "not enough memory"),
    (ReconstructionError("No method succeeded."), FailureKind.OTHER, "No method succeeded."),
    (Cancelled("Stopped on request."), FailureKind.STOPPED, "Stopped on request."),
    (KeyboardInterrupt(), FailureKind.STOPPED, "nothing was written"),
    (ZeroDivisionError("division by zero"), FailureKind.INTERNAL, "ZeroDivisionError: division by zero."),
    (PermissionError(errno.EACCES, "Permission denied"), FailureKind.INTERNAL, "Permission denied")])
def test_failures_are_explained(error: BaseException, kind: FailureKind, text: str) -> None:
    assert explained(error).kind is kind
    assert text in explained(error).message


def test_explaining_loads_nothing_heavy() -> None:
    code = ("import sys\nfrom TriplaneGaussianReconLib.jobs.failures import explained\nexplained(RuntimeError('x'))\n"
            "print(sorted({'torch', 'numpy', 'numba'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
