"""CUDA source text compiled by NVRTC, the compiler as a library.  It needs neither a GPU nor a driver."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

import torch  # imported before NVRTC is looked for: on Windows, torch loads the one that comes with it

from ..errors import BackendUnavailableError, cause
from . import cache

OLDEST = (7, 5)  # compute capability: Turing, of 2018; CUDA 13 knows nothing older


def require_packages(torch_cuda: str | None = torch.version.cuda) -> None:
    """Check that the packages are there which compile and launch kernels.

    Args:
        torch_cuda: The version of CUDA that torch was built for, such as 13.0.  None for a torch without CUDA, beside
            which any version of cuda-bindings can compile.

    Raises:
        BackendUnavailableError: cuda-core is missing, or cuda-bindings for the same CUDA as torch.
    """
    remedy = f'Install what fits: pip install cuda-core "cuda-bindings=={_major(torch_cuda)}.*"'
    try:
        import cuda.bindings
        import cuda.core
    except ImportError as error:
        raise BackendUnavailableError("The packages cuda-core and cuda-bindings, which run the GPU, cannot be imported "
                                      f"({cause(error)}). {remedy}") from error
    found = cuda.bindings.__version__
    if torch_cuda and _major(found) != _major(torch_cuda):
        raise BackendUnavailableError(f"cuda-bindings {found} does not fit torch {torch.__version__}, which was built "
                                      f"for CUDA {torch_cuda}. {remedy}")


def version() -> str:
    """Return the version of NVRTC, such as 13.0.

    Raises:
        BackendUnavailableError: NVRTC is missing.
    """
    nvrtc = _nvrtc()
    try:
        answer = nvrtc.nvrtcVersion()
    except RuntimeError as error:  # the library is looked for at the first call
        package = "nvidia-cuda-nvrtc-cu12" if _major(torch.version.cuda) == "12" else "nvidia-cuda-nvrtc"
        raise BackendUnavailableError("NVRTC, the compiler for the GPU's programs, was not found. Install it: pip "
                                      f"install {package}") from error
    major, minor = _checked(answer)
    return f"{major}.{minor}"


def architectures() -> list[int]:
    """Return the architectures that NVRTC compiles for, ascending: 75 is compute capability 7.5, and so on.

    Raises:
        BackendUnavailableError: NVRTC is missing.
    """
    version()
    (known,) = _checked(_nvrtc().nvrtcGetSupportedArchs())
    return sorted(known)


def architecture_for(capability: tuple[int, int], known: Sequence[int]) -> str:
    """Return the architecture to compile for.

    `sm_..` is machine code for this very GPU.  If NVRTC does not know the GPU, `compute_..` is intermediate code (PTX)
    for the newest older one that it knows; the driver translates it.

    Args:
        capability: The compute capability of the GPU.
        known: What NVRTC compiles for, from `architectures`.

    Raises:
        BackendUnavailableError: The GPU is too old.

    Example:
        >>> architecture_for((9, 0), [75, 80, 90])
        'sm_90'
        >>> architecture_for((12, 0), [75, 80, 90])
        'compute_90'
    """
    wanted = 10 * capability[0] + capability[1]
    older = [number for number in known if number <= wanted]
    if capability < OLDEST or not older:
        raise BackendUnavailableError(f"This GPU has compute capability {_dotted(capability)}; at least "
                                      f"{_dotted(OLDEST)} (Turing, of 2018) is needed.")
    return f"sm_{wanted}" if wanted in older else f"compute_{max(older)}"


def binary(source: str, architecture: str) -> bytes:
    """Return the compiled text, from the disk if it was compiled on this computer before.

    Arguments and errors are those of `compile_source`.
    """
    origin = repr((source, _options(architecture), version()))
    content = cache.load(origin)
    if content is None:
        content = compile_source(source, architecture)
        cache.save(origin, content)
    return content


def compile_source(source: str, architecture: str, log: TextIO | None = None) -> bytes:
    """Compile CUDA source.

    Args:
        source: The text, as from `Source.text`.
        architecture: As from `architecture_for`.
        log: Gets what the compiler says: warnings, and registers, stack and spills of each kernel of a cubin.

    Returns:
        A cubin for `sm_..`, PTX for `compute_..`.

    Raises:
        BackendUnavailableError: NVRTC is missing, or it cannot compile the source; then with its log.
    """
    compiler = f"NVRTC {version()}"
    nvrtc = _nvrtc()
    options = [option.encode() for option in _options(architecture)]
    program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), b"macros", 0, [], []))[0]
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        said = _fetched(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).decode(errors="replace")
        if log:
            log.write(said.rstrip("\0"))
        if int(status):
            raise BackendUnavailableError(f"{compiler} cannot compile the kernels for {architecture}. Please report "
                                          f"this with what it says:\n{said}")
        if architecture.startswith("sm_"):
            return _fetched(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        return _fetched(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _options(architecture: str) -> list[str]:
    return [f"--gpu-architecture={architecture}", "--std=c++17", "--ptxas-options=-v"]


def _nvrtc() -> Any:
    require_packages()
    from cuda.bindings import nvrtc

    return nvrtc


def _checked(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what NVRTC returned beside its status; raise an error if that is not success."""
    status, *results = answer
    if int(status):
        raise BackendUnavailableError(f"NVRTC failed ({status.name}). Use device 'cpu'.")
    return tuple(results)


def _fetched(size_of: Any, get: Any, program: Any) -> bytes:
    content = bytearray(_checked(size_of(program))[0])
    _checked(get(program, content))
    return bytes(content)


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _major(release: str | None) -> str:
    return release.split(".")[0] if release else "13"
