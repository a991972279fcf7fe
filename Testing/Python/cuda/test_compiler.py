"""NVRTC needs no GPU: what is bundled for GPUs can be compiled anywhere but on macOS, for which NVIDIA has nothing."""
from __future__ import annotations

import functools
import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.cuda import cache, compiler
from TriplaneGaussianReconLib.cuda.compiler import (
    Defines,
    architecture_for,
    architectures,
    binary,
    compile_source,
    require_packages,
    version,
)
from TriplaneGaussianReconLib.cuda.program import macros
from TriplaneGaussianReconLib.errors import BackendUnavailableError

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="NVIDIA has no compiler for macOS")

PROMISED = {75, 80, 86, 87, 89, 90, 100, 103, 120}  # Turing to Blackwell
NUMBERS = [] if sys.platform == "darwin" else [number for number in architectures() if number >= 75]
KNOWN = [f"sm_{number}" for number in NUMBERS]
FLOAT, DOUBLE = macros(torch.float32), macros(torch.float64)
SOURCE = compiler.SOURCE.read_text(encoding="utf-8")
SECTION = re.compile(r"^#if PART (==|!=) (\w+).*?^#endif", re.DOTALL | re.MULTILINE)
KERNEL = re.compile(r'extern "C" __global__\s+__launch_bounds__\([^)]*\)\s+void\s+(\w+)\(')
USAGE = re.compile(r"Function properties for (\w+)\n\D*(\d+) bytes stack frame, (\d+) bytes spill stores")
MOST_SPILLED = 256  # bytes for each thread, of float32: some numbers, for launch bounds limit registers on purpose


def field(preset: str, outputs: int, fused: int = 3) -> Defines:
    """The macros for the tri-plane field of a preset, which decodes `outputs` numbers from `fused` fused planes."""
    of = PRESETS[preset].triplane
    sizes = {"FEATURES": of.features, "FUSED": fused * of.features, "HIDDEN": of.hidden, "OUTPUTS": outputs}
    return *macros(torch.float32, "FIELD"), *((name, str(size)) for name, size in sizes.items())


# float is compiled for every architecture.  What else there is differs from it in nothing that depends on them, so that
# the oldest and the newest are enough: with labels, 4 of them, the preset `paper` decodes 11 numbers.
VARIANTS = {"double": DOUBLE, "alpha-double": macros(torch.float64, "ALPHA"), "fast": field("fast", 1),
            "paper": field("paper", 11), "weighted": field("fast", 1, 1)}
COMPILATIONS = [*(pytest.param(known, FLOAT, id=f"{known}-float") for known in KNOWN),
                *(pytest.param(known, macros(torch.float32, "ALPHA"), id=f"{known}-alpha") for known in KNOWN),
                *(pytest.param(known, defines, id=f"{known}-{name}") for known in KNOWN[:1] + KNOWN[-1:]
                  for name, defines in VARIANTS.items())]

SMALL = 'extern "C" __global__ void fill(REAL* x) { x[threadIdx.x] = 1; }'


@pytest.fixture
def small_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a quickly compiled source in the place of the bundled one, and an empty folder in that of the cache."""
    source = tmp_path / "small.cu"
    source.write_text(SMALL)
    monkeypatch.setattr(compiler, "SOURCE", source)
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    return source


def test_the_source_needs_no_header() -> None:
    assert "#include" not in SOURCE


def test_every_kernel_is_found_by_name() -> None:
    assert len(KERNEL.findall(SOURCE)) == SOURCE.count("__global__") > 0


def test_the_compiler_knows_every_architecture_that_is_promised() -> None:
    assert set(NUMBERS) >= PROMISED


@functools.cache
def compiled(architecture: str, defines: Defines) -> tuple[bytes, str]:
    """The bundled source, compiled once for all tests, and what the compiler said."""
    log = io.StringIO()
    return compile_source(architecture, defines, log), log.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "defines"), COMPILATIONS)
def test_the_source_compiles_without_warnings(architecture: str, defines: Defines) -> None:
    content, log = compiled(architecture, defines)
    assert content.startswith(b"\x7fELF")
    assert [name for name in kernels_of(defines) if f".text.{name}\0".encode() not in content] == []
    assert "warning" not in log


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "defines"),
                         [one for one in COMPILATIONS if ("REAL", "float") in one.values[1]])  # type: ignore[operator]
def test_hardly_anything_is_spilled_from_registers(architecture: str, defines: Defines) -> None:
    _, log = compiled(architecture, defines)
    usage = {name: (int(stack), int(spilled)) for name, stack, spilled in USAGE.findall(log)}
    assert usage.keys() == kernels_of(defines)
    assert {name: use for name, use in usage.items() if max(use) > MOST_SPILLED} == {}


@pytest.mark.slow
def test_the_source_compiles_for_gpus_that_the_compiler_does_not_know_yet() -> None:
    content = compile_source(architecture_for((19, 3), NUMBERS), FLOAT).decode()
    assert f".target {KNOWN[-1]}" in content
    assert [name for name in kernels_of(FLOAT) if f".entry {name}(" not in content] == []


@pytest.mark.parametrize(("capability", "expected"), [
    ((7, 5), "sm_75"), ((9, 0), "sm_90"), ((12, 0), "sm_120"),
    ((12, 1), "compute_120"), ((8, 9), "compute_86"), ((15, 0), "compute_120"),
])
def test_code_is_for_the_very_gpu_or_else_for_the_next_older_one(capability: tuple[int, int], expected: str) -> None:
    assert architecture_for(capability, [50, 75, 80, 86, 90, 120]) == expected


@pytest.mark.parametrize(("capability", "known"), [((6, 1), [50, 61, 75]), ((7, 2), [72, 75]), ((7, 5), [80, 90])])
def test_a_gpu_that_is_too_old_is_refused(capability: tuple[int, int], known: list[int]) -> None:
    with pytest.raises(BackendUnavailableError, match=f"capability {capability[0]}.{capability[1]}"):
        architecture_for(capability, known)


def test_what_does_not_compile_is_reported_with_the_log(small_source: Path) -> None:
    small_source.write_text(SMALL.replace("threadIdx", "threadIndex"))
    with pytest.raises(BackendUnavailableError, match=r'cannot compile small.cu for sm_75.*\n.*"threadIndex" is undef'):
        compile_source("sm_75", FLOAT)


def test_what_was_compiled_before_is_read_from_the_disk(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = binary("sm_75", FLOAT)
    monkeypatch.setattr(compiler, "compile_source", fail)
    assert binary("sm_75", FLOAT) == first


@pytest.mark.parametrize("change", ["source", "architecture", "defines", "compiler", "damage"])
def test_anything_else_is_compiled_anew(change: str, small_source: Path, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    first, architecture, defines = binary("sm_75", FLOAT), "sm_75", FLOAT
    if change == "source":
        small_source.write_text(SMALL.replace("= 1", "= 2"))
    elif change == "architecture":
        architecture = "sm_80"
    elif change == "defines":
        defines = DOUBLE
    elif change == "compiler":
        monkeypatch.setattr(compiler, "version", lambda: "99.0")
    else:
        (file,) = (tmp_path / "cache").iterdir()
        file.write_bytes(file.read_bytes()[:-1])
    compiled: list[str] = []
    monkeypatch.setattr(compiler, "compile_source",
                        lambda *arguments: compiled.append("again") or compile_source(*arguments))
    second = binary(architecture, defines)
    assert compiled == ["again"]
    assert (second == first) == (change in ("compiler", "damage"))


@pytest.mark.parametrize("package", ["cuda.core", "cuda.bindings"])
def test_missing_packages_are_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(BackendUnavailableError, match=rf'{package}.*pip install cuda-core "cuda-bindings==12\.\*"'):
        require_packages("12.6")
    with pytest.raises(BackendUnavailableError, match="cannot be imported"):
        version()


def test_packages_for_another_cuda_than_torch_are_refused() -> None:
    import cuda.bindings

    installed = int(cuda.bindings.__version__.split(".")[0])
    require_packages(f"{installed}.9")
    other = 25 - installed  # 12 and 13
    with pytest.raises(BackendUnavailableError, match=rf'CUDA {other}\.0.*"cuda-bindings=={other}\.\*"'):
        require_packages(f"{other}.0")


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import cuda.bindings

    stand_in = SimpleNamespace(nvrtcVersion=fail)  # cuda-bindings fails like this at its first call of the library
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", stand_in)  # type: ignore[arg-type]
    monkeypatch.setattr(cuda.bindings, "nvrtc", stand_in)
    with pytest.raises(BackendUnavailableError, match="NVRTC.*not found.*pip install nvidia-cuda-nvrtc"):
        compile_source("sm_75", FLOAT)


def kernels_of(defines: Defines) -> set[str]:
    """The names of the kernels that the bundled source has with these macros."""
    part = dict(defines)["PART"]
    return set(KERNEL.findall(SECTION.sub(lambda found: found[0] if (found[2] == part) == (found[1] == "==") else "",
                                          SOURCE)))


def fail(*_: Any) -> NoReturn:
    raise RuntimeError("This must not be called, or fail in this way.")
