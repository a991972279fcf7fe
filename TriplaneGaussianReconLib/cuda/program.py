"""The compiled kernels on one GPU, launched on torch's stream."""
from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BackendUnavailableError, cause
from .compiler import architecture_for, architectures, binary, require_packages
from .source import Source

PROBE = Source(Path(__file__).parent, ("probe.cu",), {})


class Kernels:
    """The kernels of one program on one GPU.

    Args:
        index: The number of the GPU in torch.
        code: The compiled program, of type cuda.core.ObjectCode.
    """

    def __init__(self, index: int, code: Any) -> None:
        import cuda.core

        self._index, self._code, self._core = index, code, cuda.core
        self._streams = {0: cuda.core.LEGACY_DEFAULT_STREAM}  # by torch's handle; 0 is its default stream
        self._kernels: dict[str, Any] = {}

    def launch(self, name: str, blocks: int | tuple[int, int, int], threads: int,
               *arguments: Tensor | int | float | None) -> None:
        """Start a kernel on torch's current stream of this GPU, without waiting for it.

        Nothing checks the arguments: there must be as many as the kernel declares, of the same types.

        Args:
            name: Of the kernel.
            blocks: How many blocks.
            threads: How many threads in a block.
            arguments: The kernel sees a tensor, which must be contiguous and on this GPU, as a pointer to its first
                element; None as a null pointer; an int or bool as `long long`; a float as `double`.
        """
        handle, core = torch.cuda.current_stream(self._index).cuda_stream, self._core
        stream = self._streams.get(handle) or self._streams.setdefault(handle, core.Stream.from_handle(handle))
        kernel = self._kernels.get(name) or self._kernels.setdefault(name, self._code.get_kernel(name))
        with torch.cuda.device(self._index):  # leaves torch's current device as it was
            core.Device(self._index).set_current()  # a thread that has not used CUDA, such as autograd's, needs it
            core.launch(stream, core.LaunchConfig(grid=blocks, block=threads), kernel, *map(_parameter, arguments))


def kernels(device: torch.device, source: Source, dtype: torch.dtype,
            sizes: Mapping[str, int] | None = None) -> Kernels:
    """Return the kernels of a program; the first call with the same arguments compiles them or reads the cache.

    Args:
        device: The GPU to run on.
        source: The program.
        dtype: As for `Source.text`.
        sizes: As for `Source.text`.

    Raises:
        BackendUnavailableError: The kernels cannot be compiled or loaded; the message says why.
    """
    index = torch.cuda.current_device() if device.index is None else device.index
    return _kernels(index, source, dtype, tuple((sizes or {}).items()))


def try_out(device: torch.device) -> None:
    """Compile and load the smallest program there is.

    Raises:
        BackendUnavailableError: Programs cannot be compiled for this GPU, or not be loaded; the message says why.
    """
    kernels(device, PROBE, torch.float32)


@cache
def _kernels(index: int, source: Source, dtype: torch.dtype, sizes: tuple[tuple[str, int], ...]) -> Kernels:
    require_packages()
    from cuda.core import Device, ObjectCode

    architecture = architecture_for(torch.cuda.get_device_capability(index), architectures())
    content = binary(source.text(dtype, dict(sizes)), architecture)
    with torch.cuda.device(index):
        try:
            Device(index).set_current()
            code = (ObjectCode.from_cubin if architecture.startswith("sm_") else ObjectCode.from_ptx)(content)
            code.handle  # noqa: B018 - loads the code, so that the driver complains here if at all
        except Exception as error:  # of a type that cuda.core does not make public
            raise BackendUnavailableError(f"The NVIDIA driver does not load kernels for {architecture} "
                                          f"({cause(error)}). A newer driver may help.") from error
    return Kernels(index, code)


def _parameter(argument: Tensor | int | float | None) -> int | float:
    """Return `argument` as cuda.core takes it: a Python int is passed as 8 bytes, but a bool as 1."""
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    if argument is None:
        return 0
    return argument if isinstance(argument, float) else int(argument)
