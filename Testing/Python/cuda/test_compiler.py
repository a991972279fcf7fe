"""NVRTC needs no GPU: programs can be compiled anywhere but on macOS, for which NVIDIA has no compiler."""
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
    architecture_for,
    architectures,
    binary,
    compile_source,
    require_packages,
    version,
)
from TriplaneGaussianReconLib.cuda.program import PROBE
from TriplaneGaussianReconLib.errors import BackendUnavailableError
from TriplaneGaussianReconLib.gaussians.activation_cuda import ACTIVATION
from TriplaneGaussianReconLib.gaussians.triplane_cuda import TRIPLANE
from TriplaneGaussianReconLib.rasterizer.cuda import ALPHA, SUMS

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="NVIDIA has no compiler for macOS")

PROMISED = {75, 80, 86, 87, 89, 90, 100, 103, 120}  # Turing to Blackwell
NUMBERS = [] if sys.platform == "darwin" else [number for number in architectures() if number >= 75]
KNOWN = [f"sm_{number}" for number in NUMBERS]
KERNEL = re.compile(r'extern "C" __global__\s+(?:__launch_bounds__\([^)]*\)\s+)?void\s+(\w+)\(')
USAGE = re.compile(r"Function properties for (\w+)\n\D*(\d+) bytes stack frame, (\d+) bytes spill stores")
MOST_SPILLED = 256  # bytes for each thread, of float32: some numbers, for launch bounds limit registers on purpose


def field(preset: str, outputs: int, fused: int = 3) -> str:
    """The program for the tri-plane field of a preset, which decodes `outputs` numbers from `fused` fused planes."""
    of = PRESETS[preset].triplane
    return TRIPLANE.text(torch.float32, {"FEATURES": of.features, "FUSED": fused * of.features, "HIDDEN": of.hidden,
                                         "OUTPUTS": outputs})


# What draws in float32 is compiled for every architecture.  What else there is differs from it in nothing that depends
# on them, so that the oldest and the newest are enough.  With 4 labels the preset `paper` decodes 11 numbers.
EVERYWHERE = {"sums": SUMS.text(torch.float32), "alpha": ALPHA.text(torch.float32),
              "activation": ACTIVATION.text(torch.float32)}
DOUBLE = {f"{name}-double": source.text(torch.float64)
          for name, source in (("sums", SUMS), ("alpha", ALPHA), ("activation", ACTIVATION))}
PROGRAMS = {**EVERYWHERE, **DOUBLE, "fast": field("fast", 1), "paper": field("paper", 11),
            "weighted": field("fast", 1, 1), "probe": PROBE.text(torch.float32)}
COMPILATIONS = [(known, name) for known in KNOWN for name in PROGRAMS
                if name in EVERYWHERE or known in (KNOWN[0], KNOWN[-1])]

SMALL = 'extern "C" __global__ void fill(float* x) { x[threadIdx.x] = 1; }'


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an empty folder in the place of the cache."""
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_kernel_is_found_by_name(name: str) -> None:
    assert len(kernels_of(PROGRAMS[name])) == PROGRAMS[name].count("__global__") > 0


def test_the_compiler_knows_every_architecture_that_is_promised() -> None:
    assert set(NUMBERS) >= PROMISED


@functools.cache
def compiled(architecture: str, name: str) -> tuple[bytes, str]:
    """A program, compiled once for all tests, and what the compiler said."""
    log = io.StringIO()
    return compile_source(PROGRAMS[name], architecture, log), log.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "name"), COMPILATIONS)
def test_programs_compile_without_warnings(architecture: str, name: str) -> None:
    content, log = compiled(architecture, name)
    assert content.startswith(b"\x7fELF")
    assert [kernel for kernel in kernels_of(PROGRAMS[name]) if f".text.{kernel}\0".encode() not in content] == []
    assert "warning" not in log


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "name"), [one for one in COMPILATIONS if one[1] not in DOUBLE])
def test_hardly_anything_is_spilled_from_registers(architecture: str, name: str) -> None:
    _, log = compiled(architecture, name)
    usage = {kernel: (int(stack), int(spilled)) for kernel, stack, spilled in USAGE.findall(log)}
    assert usage.keys() == kernels_of(PROGRAMS[name])
    assert {kernel: use for kernel, use in usage.items() if max(use) > MOST_SPILLED} == {}


@pytest.mark.slow
def test_programs_compile_for_gpus_that_the_compiler_does_not_know_yet() -> None:
    content = compile_source(PROGRAMS["sums"], architecture_for((19, 3), NUMBERS)).decode()
    assert f".target {KNOWN[-1]}" in content
    assert [kernel for kernel in kernels_of(PROGRAMS["sums"]) if f".entry {kernel}(" not in content] == []


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


def test_what_does_not_compile_is_reported_with_file_and_line() -> None:
    wrong = '#line 7 "small.cu"\n' + SMALL.replace("threadIdx", "threadIndex")
    with pytest.raises(BackendUnavailableError,
                       match=r'cannot compile the kernels for sm_75.*\nsmall.cu\(7\): .*"threadIndex" is undefined'):
        compile_source(wrong, "sm_75")


@pytest.mark.usefixtures("empty_cache")
def test_what_was_compiled_before_is_read_from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    first = binary(SMALL, "sm_75")
    monkeypatch.setattr(compiler, "compile_source", fail)
    assert binary(SMALL, "sm_75") == first


@pytest.mark.parametrize("change", ["source", "architecture", "compiler", "damage"])
def test_anything_else_is_compiled_anew(change: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, architecture, source = binary(SMALL, "sm_75"), "sm_75", SMALL
    if change == "source":
        source = SMALL.replace("= 1", "= 2")
    elif change == "architecture":
        architecture = "sm_80"
    elif change == "compiler":
        monkeypatch.setattr(compiler, "version", lambda: "99.0")
    else:
        (file,) = empty_cache.iterdir()
        file.write_bytes(file.read_bytes()[:-1])
    compiled: list[str] = []
    monkeypatch.setattr(compiler, "compile_source",
                        lambda *arguments: compiled.append("again") or compile_source(*arguments))
    second = binary(source, architecture)
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
        compile_source(SMALL, "sm_75")


def kernels_of(text: str) -> set[str]:
    """The names of the kernels of a program."""
    return set(KERNEL.findall(text))


def fail(*_: Any) -> NoReturn:
    raise RuntimeError("This must not be called, or fail in this way.")
