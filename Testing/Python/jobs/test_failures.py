"""Whatever goes wrong, the user is told the cause and the remedy, in the same words everywhere."""
from __future__ import annotations

import errno
import importlib
import subprocess
import sys
from pathlib import Path

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
    (ModuleNotFoundError("No module named 'scipy'", name="scipy"), FailureKind.PACKAGE,
     "package scipy is missing or damaged: No module named 'scipy'. In 3D Slicer, press Python packages... under"),
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


@pytest.mark.parametrize("line", ["raise OSError('Could not find/load shared object file')", "import not_there_either",
                                  "raise AttributeError('no such attribute')"])
def test_a_package_that_fails_while_it_is_imported_is_named(line: str, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "damaged_package").mkdir()
    (tmp_path / "damaged_package" / "__init__.py").write_text("from . import part\n")
    (tmp_path / "damaged_package" / "part.py").write_text(line + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises((OSError, ImportError, AttributeError)) as raised:
        importlib.import_module("damaged_package")
    told = explained(raised.value)
    name = "not_there_either" if "import" in line else "damaged_package"
    assert told.kind is FailureKind.PACKAGE and told.message.startswith(f"The Python package {name} is missing or dam")


def test_explaining_loads_nothing_heavy() -> None:
    code = ("import sys\nfrom TriplaneGaussianReconLib.jobs.failures import explained\nexplained(RuntimeError('x'))\n"
            "print(sorted({'torch', 'numpy', 'numba'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
