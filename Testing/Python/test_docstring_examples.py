"""The examples in docstrings do what they show."""
from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest
from repository import ROOT

LIBRARY = ROOT / "TriplaneGaussianReconLib"
WITH_EXAMPLES = sorted(path for path in LIBRARY.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))
PUBLIC = {"api.py", "data/geometry.py", "data/images.py", "data/observations.py", "data/selection.py", "io/readers.py"}


def named(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


def test_the_public_api_has_examples() -> None:
    assert set(map(named, WITH_EXAMPLES)) >= PUBLIC


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=named)
def test_examples_show_what_happens(path: Path) -> None:
    module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
