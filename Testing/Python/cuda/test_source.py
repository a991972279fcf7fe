"""Texts of programs: constants first, then files, each under its own name."""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from repository import ROOT

from TriplaneGaussianReconLib.cuda.source import Source
from TriplaneGaussianReconLib.gaussians.activation_cuda import ACTIVATION
from TriplaneGaussianReconLib.gaussians.triplane_cuda import TRIPLANE
from TriplaneGaussianReconLib.rasterizer.cuda import ALPHA, SUMS

LIBRARY = ROOT / "TriplaneGaussianReconLib"
PROGRAMS = (SUMS, ALPHA, ACTIVATION, TRIPLANE)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    for name in ("first.cuh", "second.cu"):
        (tmp_path / name).write_text(f"// {name}\n", encoding="utf-8")
    return Source(tmp_path, ("first.cuh", "second.cu"), {"TILE": 16, "EPSILON": 1e-6})


def test_constants_come_first_and_files_in_their_order(source: Source) -> None:
    text = source.text(torch.float32, {"FEATURES": 8})
    assert text.startswith('#define REAL float\n#define TILE 16\n#define EPSILON real(1e-06)\n#define FEATURES 8\n'
                           '#line 1 "common.cuh"\n')
    assert text.endswith('\n#line 1 "first.cuh"\n// first.cuh\n#line 1 "second.cu"\n// second.cu\n')


def test_there_is_a_text_for_each_type_of_numbers(source: Source) -> None:
    assert "#define REAL double\n" in source.text(torch.float64)


def test_a_change_of_any_file_or_constant_changes_the_text(source: Source) -> None:
    texts = {source.text(torch.float32), Source(source.folder, source.files, {"TILE": 8}).text(torch.float32)}
    for name in source.files:
        (source.folder / name).write_text("// changed\n", encoding="utf-8")
        texts.add(source.text(torch.float32))
    assert len(texts) == 4


def files() -> Iterator[Path]:
    yield from (path for path in LIBRARY.rglob("*.cu*") if path.suffix in (".cu", ".cuh"))


def test_no_file_includes_another() -> None:
    assert [path.name for path in files() if "#include" in path.read_text(encoding="utf-8")] == []


def test_no_constant_is_defined_twice() -> None:
    shared = {name for program in PROGRAMS for name in program.constants}
    for path in files():
        defined = set(re.findall(r"^#define (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert not defined & shared, path


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.files[-1])
def test_every_constant_is_used(program: Source) -> None:
    text = program.text(torch.float32)
    assert [name for name in program.constants if len(re.findall(rf"\b{name}\b", text)) < 2] == []


def test_every_file_belongs_to_a_program() -> None:
    used = {program.folder / name for program in PROGRAMS for name in program.files}
    assert {path for path in files() if path.parent.name != "cuda"} == used
