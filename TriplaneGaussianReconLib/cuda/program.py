"""The compiled kernels on one GPU, launched on torch's stream."""
from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import BackendUnavailableError, cause
from .compiler import Defines, architecture_for, architectures, binary, require_packages


class Kernels:
    """The kernels of `kernels.cu`, compiled with one set of macros, on one GPU.

    index: the number of the GPU in torch.  code: the compiled source, of type cuda.core.ObjectCode.
    """

    def __init__(self, index: int, code: Any) -> None:
        import cuda.core

        self._index, self._code, self._core = index, code, cuda.core
        self._streams = {0: cuda.core.LEGACY_DEFAULT_STREAM}  # by torch's handle; 0 is its default stream
        self._kernels: dict[str, Any] = {}

    def launch(self, name: str, blocks: int | tuple[int, int, int], threads: int,
               *arguments: Tensor | int | float | None) -> None:
        """Start the kernel `name` on torch's current stream of this GPU, without waiting for it.

        The kernel sees a tensor as a pointer to its first element, None as a null pointer, an int or bool as `long
        long`, a float as `double`.  Tensors have to be contiguous and on this GPU, arguments as many and of the types
        that the kernel declares: nothing checks it.
        """
        handle, core = torch.cuda.current_stream(self._index).cuda_stream, self._core
        stream = self._streams.get(handle) or self._streams.setdefault(handle, core.Stream.from_handle(handle))
        kernel = self._kernels.get(name) or self._kernels.setdefault(name, self._code.get_kernel(name))
        with torch.cuda.device(self._index):  # leaves torch's current device as it was
            core.Device(self._index).set_current()  # a thread that has not used CUDA, such as autograd's, needs it
            core.launch(stream, core.LaunchConfig(grid=blocks, block=threads), kernel, *map(_parameter, arguments))


def macros(dtype: torch.dtype, part: Literal["SUMS", "ALPHA", "FIELD"] = "SUMS") -> Defines:
    """Return the macros with which a part of `kernels.cu` is compiled for tensors of `dtype`, float32 or float64."""
    return ("REAL", "double" if dtype == torch.float64 else "float"), ("PART", part)


def kernels(device: torch.device, defines: Defines) -> Kernels:
    """Return the kernels for a GPU; the first call for a device and its `defines` compiles them or reads the cache.

    Raises BackendUnavailableError where that is impossible, saying what is missing.
    """
    return _kernels(torch.cuda.current_device() if device.index is None else device.index, defines)


@cache
def _kernels(index: int, defines: Defines) -> Kernels:
    require_packages()
    from cuda.core import Device, ObjectCode

    architecture = architecture_for(torch.cuda.get_device_capability(index), architectures())
    content = binary(architecture, defines)
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
