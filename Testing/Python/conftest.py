"""Small synthetic data that several test files share."""
from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
import pytest
import torch
from cuda_on_host import IS_LINUX, HostKernels, Order
from evaluation_case import evaluated

import TriplaneGaussianReconLib.rasterizer
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.evaluation.report import EvaluationReport
from TriplaneGaussianReconLib.runtime.stop_signals import STOP_SIGNALS
from TriplaneGaussianReconLib.runtime.threads import serial_torch

Textured = Callable[..., np.ndarray]
Direction = tuple[tuple[float, float, float], ...]


def pytest_configure() -> None:
    """Comes before test modules are imported, so that none holds an unshortened preset."""
    share_processors()
    shorten_presets()


def share_processors() -> None:
    """Of several workers (pytest-xdist), each takes its share of the processors, and so do programs that tests start.

    Threads of OpenMP spin while they wait for each other.  With more of them than processors, that takes most of the
    time.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        share = max((os.cpu_count() or 1) // workers, 1)
        torch.set_num_threads(share)
        cv2.setNumThreads(share)
        numba.set_num_threads(min(share, numba.config.NUMBA_NUM_THREADS))
        os.environ.setdefault("OMP_NUM_THREADS", str(share))


def shorten_presets() -> None:
    """The presets learn for a few steps only in this process.

    What they would learn is tested by itself, and in programs that tests start.
    """
    def brief(config: Any) -> Any:
        return config and replace(config, steps=min(config.steps, 20), width=8, blocks=1, batch=8, augmentations=1)

    for name, preset in PRESETS.items():
        PRESETS[name] = replace(preset, super_resolution=brief(preset.super_resolution), fusion=brief(preset.fusion),
                                label_super_resolution=brief(preset.label_super_resolution))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a GPU are skipped, with the reason, where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU and a torch built for CUDA; neither is here"))


@pytest.fixture(scope="session")
def cuda_on_host() -> Iterator[Callable[[Order], None]]:
    """Stand-in for a GPU: a rasterizer backend of this name, whose kernels run on the processor.

    Yields a function that sets the order in which their threads run ("forward", "reverse", or a seed).
    """
    if not IS_LINUX:
        pytest.skip("CUDA kernels run on the CPU on Linux only")
    from TriplaneGaussianReconLib.cuda import program
    from TriplaneGaussianReconLib.cuda.source import Source
    from TriplaneGaussianReconLib.gaussians import activation_cuda as activation
    from TriplaneGaussianReconLib.gaussians import triplane_cuda as field
    from TriplaneGaussianReconLib.rasterizer import cuda

    order: list[Order] = ["forward"]

    @cache
    def compiled(source: str, order: Order) -> HostKernels:
        return HostKernels(source, order=order, sanitize=True)

    def kernels(device: torch.device, source: Source, dtype: torch.dtype,
                sizes: Mapping[str, int] | None = None) -> object:
        if device.type != "cpu":
            return program.kernels(device, source, dtype, sizes)
        return compiled(source.text(dtype, sizes), order[0])

    with pytest.MonkeyPatch.context() as patch:
        for module in (cuda, activation, field):
            patch.setattr(module, "kernels", kernels)
        patch.setitem(TriplaneGaussianReconLib.rasterizer.rasterize._MODULES, "cuda_on_host", ".cuda")
        yield lambda wanted: order.__setitem__(0, wanted)


@pytest.fixture
def heard_signals() -> Iterator[None]:
    """Processes that are started hear these signals, even if this one was told to ignore them, as by `nohup` or `&`."""
    former = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS if number != signal.SIGINT}
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        former[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture
def keep_thread_counts() -> Iterator[None]:
    """How many threads torch, OpenCV and numba use is put back."""
    counts = torch.get_num_threads(), cv2.getNumThreads(), numba.get_num_threads()
    yield
    torch.set_num_threads(counts[0])
    cv2.setNumThreads(counts[1])
    numba.set_num_threads(counts[2])


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads cost more than they save on problems as small as those of tests."""
    with serial_torch():
        yield


@pytest.fixture(scope="session")
def report() -> EvaluationReport:
    """What the evaluation says of the case in `evaluation_case`."""
    return evaluated()


@pytest.fixture(scope="session")
def textured() -> Textured:
    """Make slices [k, j, i] in [0, 1] whose pattern of blobs moves by `motion` pixels (x, y) from slice to slice."""

    def make(shape: tuple[int, int, int], motion: tuple[float, float] = (0.6, -0.4), seed: int = 0,
             noise: float = 0.0, count: int = 60) -> np.ndarray:
        generator = np.random.default_rng(seed)
        planes, rows, columns = shape
        k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape), indexing="ij")
        reach = 6.0 + planes * np.abs(motion).max()
        volume = np.zeros(shape)
        for _ in range(count):
            x, y = generator.uniform(-reach, columns + reach), generator.uniform(-reach, rows + reach)
            sigma, height = generator.uniform(2.0, 4.0), generator.uniform(-1.0, 1.0)
            volume += height * np.exp(-((i - x - motion[0] * k) ** 2 + (j - y - motion[1] * k) ** 2)
                                      / (2.0 * sigma ** 2))
        volume = (volume - volume.min()) / (volume.max() - volume.min())
        return (volume + noise * generator.standard_normal(shape)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def rotation() -> Direction:
    """A proper rotation about no axis in particular: an oblique direction matrix."""
    a, b = np.deg2rad(25.0), np.deg2rad(-15.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0.0], [np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(b), -np.sin(b)], [0.0, np.sin(b), np.cos(b)]])
    return tuple((float(x), float(y), float(z)) for x, y, z in about_z @ about_x)


@pytest.fixture(scope="session")
def flipped(rotation: Direction) -> Direction:
    """An oblique direction with two index axes reversed and one mirrored: left-handed."""
    return tuple((-x, -y, -z) for x, y, z in rotation)


@pytest.fixture(scope="session")
def oblique_grid(rotation: Direction) -> Grid:
    """An oblique, anisotropic grid of 4 x 5 x 6 voxels [k, j, i]."""
    return Grid((4, 5, 6), (10.0, -20.0, 30.0), (0.5, 2.0, 3.0), rotation)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A new, real MRML scene as `slicer.mrmlScene`; see `mrml`, which needs the package slicer-core."""
    from mrml import opened_scene

    with opened_scene(tmp_path, monkeypatch) as opened:
        yield opened
