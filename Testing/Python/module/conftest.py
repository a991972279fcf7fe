"""What all tests of the module have in common."""
from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def garbage_is_collected_by_the_thread_of_qt() -> Iterator[None]:
    """Another thread, that of pytest-xdist's messages or of Dask, would delete timers while Qt looks at them: a crash.

    The module starts no thread within Slicer.
    """
    gc.disable()
    yield
    gc.collect()
    gc.enable()


@pytest.fixture(autouse=True)
def garbage_of_a_test_goes_with_it() -> Iterator[None]:
    """What is older, and takes long to look through, waits for the end of the file."""
    yield
    gc.collect(1)


@pytest.fixture(autouse=True)
def nothing_is_said_on_the_console() -> Iterator[None]:
    """Fail where PythonQt would have printed a warning and gone on, such as about a signal that does not exist."""
    said: list[str] = []
    yield
    if "slicer_stand_ins" in sys.modules and "qt" in sys.modules:
        said, sys.modules["qt"].warnings[:] = list(sys.modules["qt"].warnings), []
    assert not said, said


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stand-in for the worker of every logic that is made from now on."""
    from stand_in_worker import StandInWorkerProcess  # these need the stand-ins, which test files install
    from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic

    process = StandInWorkerProcess()
    monkeypatch.setattr(TriplaneGaussianReconLogic.__init__, "__defaults__", (process,))
    return process


@pytest.fixture
def logic(scene: Any, process: Any) -> Any:
    """The module's logic with that worker."""
    from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic

    return TriplaneGaussianReconLogic()
