from __future__ import annotations

import re

import pytest
import torch
from computer_stand_ins import StandInComputer, StandInDriver

from TriplaneGaussianReconLib.errors import BackendUnavailableError, InputError
from TriplaneGaussianReconLib.runtime.devices import DEVICES, Computer, Device, Gpu, SelectedDevice, available, choose


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_gpu_that_works_is_taken(device: str) -> None:
    computer = StandInComputer()
    assert choose(device, computer) == SelectedDevice("cuda", torch.device("cuda", 0), "NVIDIA RTX 4070, 12.0 GB.")
    assert computer.tried == [torch.device("cuda", 0)]


def test_one_of_several_gpus_can_be_chosen() -> None:
    computer = StandInComputer(nvidia=StandInDriver(count=2))
    assert choose("cuda:1", computer).device == torch.device("cuda", 1)
    with pytest.raises(BackendUnavailableError, match="no GPU cuda:2; the last one is cuda:1"):
        choose("cuda:2", computer)


def test_the_cpu_is_taken_without_asking_for_gpus() -> None:
    assert choose("cpu", computer=object()) == SelectedDevice("cpu", torch.device("cpu"), "CPU.")  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["tpu", "", "cuda:", "cuda:one", "cuda:-1", "CUDA", "cpu:0"])
def test_unknown_devices_are_refused(device: str) -> None:
    with pytest.raises(InputError, match=f"Unknown device '{device}'. Choose one of {', '.join(DEVICES)}"):
        choose(device)


@pytest.mark.parametrize(("computer", "why"), [
    (StandInComputer(nvidia=None), "No NVIDIA GPU was found, or no driver for it."),
    (StandInComputer(nvidia=StandInDriver(count=0)), "finds no GPU.*nvidia-smi.*CUDA_VISIBLE_DEVICES"),
    (StandInComputer(nvidia=StandInDriver(status=100)), "finds no GPU"),
    (StandInComputer(nvidia=StandInDriver(status=803)), r"unsupported display driver.*\(803\). Restart the computer"),
    (StandInComputer(nvidia=StandInDriver(status=999)), r"unknown error \(999\)"),
    (StandInComputer("13.0", StandInDriver(12040)),
     "too old: it supports CUDA 12.4, this torch needs 13.0. Update the driver, or install a torch for CUDA 12;"),
    (StandInComputer("12.6", StandInDriver(11040)), r"supports CUDA 11.4, this torch needs 12.6. Update the driver\."),
    (StandInComputer(None, StandInDriver(11040)), r"supports CUDA 11.4, 12.0 is needed. Update the driver\."),
    (StandInComputer(None, StandInDriver(12080)), "torch .* cannot use it. Install a torch for CUDA 12;"),
    (StandInComputer(None, StandInDriver(14010)), "torch .* cannot use it. Install a torch for CUDA 13;"),
    (StandInComputer(card=Gpu("NVIDIA RTX 4070", 0.4e9, 12e9)),
     "Only 0.4 GB of the 12.0 GB of NVIDIA RTX 4070 are free.*Close other programs"),
    (StandInComputer(card=RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later.")),
     "does not run on cuda:0: CUDA error: out of memory. Close other programs"),
    (StandInComputer(failure=RuntimeError("CUDA error: no kernel image is available for execution on the device\n...")),
     "on the device. This GPU needs another torch; https://pytorch.org"),
    (StandInComputer(failure=BackendUnavailableError("NVRTC was not found.\nHere is a log.")), "NVRTC was not found."),
])
def test_a_gpu_that_does_not_work_is_left_alone_or_refused(computer: Computer, why: str) -> None:
    chosen = choose("auto", computer)
    assert (chosen.backend, chosen.device) == ("cpu", torch.device("cpu"))
    assert re.match("CPU: .*" + why, chosen.note)
    assert "\n" not in chosen.note
    with pytest.raises(BackendUnavailableError, match=f"(?s)CUDA cannot be used: .*{why}.* To do without it, choose"):
        choose("cuda", computer)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, so nothing is missing")
def test_this_computer_without_a_gpu_is_asked() -> None:
    assert choose("auto").backend == "cpu"
    with pytest.raises(BackendUnavailableError, match="CUDA cannot be used: .*[Dd]river.* To do without it, choose"):
        choose("cuda")


@pytest.mark.gpu
def test_this_computer_with_a_gpu_is_asked() -> None:
    chosen = choose("auto")
    assert (chosen.backend, chosen.device) == ("cuda", torch.device("cuda", 0))
    assert chosen.note.startswith(torch.cuda.get_device_name(0))


@pytest.mark.gpu
def test_memory_that_torch_holds_ready_counts_as_free() -> None:
    before = Computer().gpu(0)
    block = torch.empty(2 ** 28, dtype=torch.uint8, device="cuda:0")
    assert Computer().gpu(0).free < before.free - 2 ** 27
    del block
    assert Computer().gpu(0).free > before.free - 2 ** 27


def test_devices_that_work_are_listed_with_the_cpu_last() -> None:
    assert available(StandInComputer(nvidia=StandInDriver(count=2))) == [
        Device("cuda:0", "NVIDIA RTX 4070", 12_000_000_000, "NVIDIA RTX 4070, 12.0 GB."),
        Device("cuda:1", "NVIDIA RTX 4070", 12_000_000_000, "NVIDIA RTX 4070, 12.0 GB."),
        Device("cpu", "A processor", 2 ** 34, "CPU.")]


@pytest.mark.parametrize(("computer", "why"), [
    (StandInComputer(nvidia=None), "No NVIDIA GPU was found, or no driver for it."),
    (StandInComputer(nvidia=StandInDriver(status=999)), "The NVIDIA driver does not start: unknown error (999)."),
    (StandInComputer(failure=BackendUnavailableError("NVRTC was not found.\nHere is a log.")), "NVRTC was not found.")])
def test_without_a_gpu_the_cpu_is_listed_with_the_reason(computer: Computer, why: str) -> None:
    (cpu,) = available(computer)
    assert cpu.device == "cpu" and cpu.note.startswith(f"CPU: {why}") and "\n" not in cpu.note


def test_a_gpu_that_does_not_work_does_not_hide_another() -> None:
    class Half(StandInComputer):
        def try_out(self, device: torch.device) -> None:
            if device.index == 0:
                raise BackendUnavailableError("It is broken.")

    assert [device.device for device in available(Half(nvidia=StandInDriver(count=2)))] == ["cuda:1", "cpu"]


def test_this_computer_has_a_processor_and_memory() -> None:
    assert Computer().processor() and Computer().memory() > 10 ** 8
