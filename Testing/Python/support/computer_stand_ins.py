"""Stand-ins for a computer with NVIDIA GPUs, and for their driver."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from TriplaneGaussianReconLib.runtime.devices import Computer, Gpu


class StandInDriver:
    """Answers as an NVIDIA driver does that supports CUDA `cuda`, finds `count` GPUs and starts with `status`."""

    def __init__(self, cuda: int = 13000, count: int = 1, status: int = 0) -> None:
        self.cuda, self.count, self.status = cuda, count, status

    def cuInit(self, _: int) -> int:
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.count
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self.cuda
        return 0

    def cuGetErrorString(self, status: int, text: Any) -> int:
        text._obj.value = b"system has unsupported display driver / cuda driver combination" if status == 803 else None
        return 0


@dataclass
class StandInComputer(Computer):
    """A computer with a GPU that works; tests change what they are about.

    built_for: CUDA version of torch.  nvidia: the driver.  card: the GPU, or why torch cannot use it.  failure: what is
    raised when the GPU is tried out.
    """

    built_for: str | None = "13.0"
    nvidia: StandInDriver | None = field(default_factory=StandInDriver)
    card: Gpu | RuntimeError = Gpu("NVIDIA RTX 4070", 11e9, 12e9)
    failure: RuntimeError | None = None
    tried: list[torch.device] = field(default_factory=list)

    def torch_cuda(self) -> str | None:
        return self.built_for

    def driver(self) -> StandInDriver | None:
        return self.nvidia

    def gpu(self, index: int) -> Gpu:
        if isinstance(self.card, RuntimeError):
            raise self.card
        return self.card

    def processor(self) -> str:
        return "A processor"

    def memory(self) -> int:
        return 2 ** 34

    def try_out(self, device: torch.device) -> None:
        self.tried.append(device)
        if self.failure:
            raise self.failure
