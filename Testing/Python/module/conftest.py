"""What all tests of the module have in common."""
from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_is_said_on_the_console() -> Iterator[None]:
    """Fail where PythonQt would have printed a warning and gone on, such as about a signal that does not exist."""
    said: list[str] = []
    yield
    if "slicer_stand_ins" in sys.modules and "qt" in sys.modules:
        said, sys.modules["qt"].warnings[:] = list(sys.modules["qt"].warnings), []
    assert not said, said
