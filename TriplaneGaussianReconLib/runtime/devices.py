"""Where to compute: on an NVIDIA GPU where one works, otherwise on the CPU, saying why."""
from __future__ import annotations

import ctypes
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from ..config.names import DEVICES, Backend
from ..cuda.program import try_out
from ..errors import BackendUnavailableError, InputError
from .nvidia_driver import counted, load_nvidia_driver

_LEAST_FREE = 1e9  # bytes of GPU memory; with less, not even small volumes fit
_TORCH_FOR = (12, 13)  # major versions of CUDA for which there are builds of torch
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_PYTORCH = "https://pytorch.org/get-started tells how."


@dataclass(frozen=True)
class SelectedDevice:
    """What to compute on.

    Attributes:
        backend: The rasterizer's implementation there.
        device: What torch calls it.
        note: For the user: which device it is, and why it is the CPU where a GPU could be expected.
    """

    backend: Backend
    device: torch.device
    note: str


@dataclass(frozen=True)
class Gpu:
    """A GPU as torch sees it.

    Attributes:
        name: Of the model.
        free: Bytes of memory; what torch itself holds ready counts as free.
        total: Bytes of memory.
    """

    name: str
    free: float
    total: float


@dataclass(frozen=True)
class Device:
    """A device on offer.

    Attributes:
        device: What `choose` understands, for example `cuda:0`.
        name: Of the processor or GPU.
        memory_bytes: All of its memory.
        note: As that of `SelectedDevice`.
    """

    device: str
    name: str
    memory_bytes: int
    note: str


class Computer:
    """What this module asks about the computer; tests ask another one."""

    def torch_cuda(self) -> str | None:
        """The version of CUDA that torch was built for, for example 13.0; None for a torch without CUDA."""
        return torch.version.cuda

    def driver(self) -> Any:
        """The NVIDIA driver, see `load_nvidia_driver`."""
        return load_nvidia_driver()

    def processor(self) -> str:
        """The processor's name, as far as it is known."""
        with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        return platform.processor() or platform.machine()

    def memory(self) -> int:
        """The host's memory in bytes."""
        import psutil

        return int(psutil.virtual_memory().total)

    def gpu(self, index: int) -> Gpu:
        """Describe a GPU; raises RuntimeError where torch cannot use it."""
        free, total = torch.cuda.mem_get_info(index)
        held = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
        return Gpu(torch.cuda.get_device_name(index), free + held, total)

    def try_out(self, device: torch.device) -> None:
        """Compile the rasterizer if need be, and compute something on a GPU with torch.

        Raises:
            BackendUnavailableError: The rasterizer cannot run.
            RuntimeError: torch cannot run.
        """
        try_out(device)
        torch.ones(1, device=device).add(1).cpu()


def choose(device: str, computer: Computer | None = None) -> SelectedDevice:
    """Return what to compute on.

    Args:
        device: `auto` is the first GPU if it works, otherwise the CPU, with a note that says why. `cpu` does not look
            for GPUs. `cuda` is the first GPU, `cuda:1` the second and so on.
        computer: What to ask instead of the computer at hand.

    Raises:
        InputError: There is no device of this name.
        BackendUnavailableError: The GPU does not work; the message says why.

    Example:
        >>> choose("cpu").note
        'CPU.'
    """
    demanded = re.fullmatch(r"cuda(?::(\d+))?", device)
    if device not in DEVICES and not demanded:
        raise InputError(f"Unknown device '{device}'. Choose one of {', '.join(DEVICES)}, or of several GPUs cuda:0, "
                         "cuda:1 and so on.")
    if device == "cpu":
        return SelectedDevice("cpu", torch.device("cpu"), "CPU.")
    try:
        return _gpu(int(demanded[1] or 0) if demanded else 0, computer or Computer())
    except BackendUnavailableError as error:
        if demanded:
            raise BackendUnavailableError(f"CUDA cannot be used: {error} To do without it, choose the device 'cpu'."
                                          ) from error
        return SelectedDevice("cpu", torch.device("cpu"), f"CPU: {str(error).splitlines()[0]}")


def available(computer: Computer | None = None) -> list[Device]:
    """Return the GPUs that work, then the CPU, whose note says why there is no GPU.

    Args:
        computer: What to ask instead of the computer at hand.
    """
    computer = computer or Computer()
    found, reasons = list[Device](), list[str]()
    for index in _numbers(computer):
        try:
            chosen, gpu = _gpu(index, computer), computer.gpu(index)
            found.append(Device(str(chosen.device), gpu.name, int(gpu.total), chosen.note))
        except BackendUnavailableError as error:
            reasons.append(str(error).splitlines()[0])
    note = "CPU." if found else f"CPU: {reasons[0]}"
    return [*found, Device("cpu", computer.processor(), computer.memory(), note)]


def _numbers(computer: Computer) -> range:
    """The numbers of all GPUs; number 0 where there is none, so that `_gpu` says why."""
    with suppress(BackendUnavailableError):
        if (driver := computer.driver()) is not None:
            return range(_gpu_count(driver))
    return range(1)


def _gpu(index: int, computer: Computer) -> SelectedDevice:
    """Return a GPU on which everything works, or raise BackendUnavailableError."""
    driver = computer.driver()
    if driver is None:
        raise BackendUnavailableError("No NVIDIA GPU was found, or no driver for it.")
    count = _gpu_count(driver)
    _check_versions(_cuda_of(driver), computer.torch_cuda())
    if index >= count:
        raise BackendUnavailableError(f"There is no GPU cuda:{index}; the last one is cuda:{count - 1}.")
    try:
        gpu = computer.gpu(index)
        _check_memory(gpu)
        chosen = SelectedDevice("cuda", torch.device("cuda", index), f"{gpu.name}, {_gigabytes(gpu.total)}.")
        computer.try_out(chosen.device)
    except BackendUnavailableError:
        raise
    except RuntimeError as error:
        raise BackendUnavailableError(_torch_failed(index, str(error))) from error
    return chosen


def _gpu_count(driver: Any) -> int:
    """Return how many GPUs the driver has, at least one."""
    status = driver.cuInit(0)
    if status not in (0, _NO_DEVICE):
        text = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(text))
        raise BackendUnavailableError(f"The NVIDIA driver does not start: {(text.value or b'unknown error').decode()} "
                                      f"({status}). Restart the computer, or install the driver again.")
    count = counted(driver) if status == 0 else 0
    if not count:
        raise BackendUnavailableError("The NVIDIA driver finds no GPU. If there is one, see whether nvidia-smi lists "
                                      "it, and whether CUDA_VISIBLE_DEVICES hides it.")
    return count


def _cuda_of(driver: Any) -> tuple[int, int]:
    """Return the newest version of CUDA that the driver supports."""
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10


def _check_versions(supported: tuple[int, int], torch_cuda: str | None) -> None:
    """Raise BackendUnavailableError unless torch has CUDA, of a major version that the driver supports."""
    needed = int(torch_cuda.split(".")[0]) if torch_cuda else _TORCH_FOR[0]
    usable = max((major for major in _TORCH_FOR if major <= supported[0]), default=None)
    if supported[0] < needed:
        needs = f"this torch needs {torch_cuda}" if torch_cuda else f"{needed}.0 is needed"
        other = f", or install a torch for CUDA {usable}; {_PYTORCH}" if usable else "."
        raise BackendUnavailableError(f"The NVIDIA driver is too old: it supports CUDA {supported[0]}.{supported[1]}, "
                                      f"{needs}. Update the driver{other}")
    if torch_cuda is None:
        raise BackendUnavailableError(f"There is an NVIDIA GPU, but torch {torch.__version__} cannot use it. Install a "
                                      f"torch for CUDA {usable}; {_PYTORCH}")


def _check_memory(gpu: Gpu) -> None:
    """Raise BackendUnavailableError where too little memory is free."""
    if gpu.free < _LEAST_FREE:
        raise BackendUnavailableError(f"Only {_gigabytes(gpu.free)} of the {_gigabytes(gpu.total)} of {gpu.name} are "
                                      f"free, and {_gigabytes(_LEAST_FREE)} at least are needed. Close other programs "
                                      "that use the GPU.")


def _torch_failed(index: int, text: str) -> str:
    """Return what to tell the user when torch fails on a GPU; of its message `text` the first line is enough."""
    remedy = (f"This GPU needs another torch; {_PYTORCH}" if "no kernel image" in text
              else "Close other programs that use the GPU, or restart the computer.")
    reason = text.partition("\n")[0].rstrip(". ")
    return f"torch {torch.__version__} does not run on cuda:{index}: {reason}. {remedy}"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
