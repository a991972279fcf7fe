from __future__ import annotations

import subprocess
import sys
from threading import Thread

import pytest
import torch
from repository import ROOT
from torch import Tensor

from TriplaneGaussianReconLib.cuda import compiler
from TriplaneGaussianReconLib.cuda.program import Kernels, kernels
from TriplaneGaussianReconLib.rasterizer.cuda import SUMS

ECHO = """
extern "C" __global__ void echo(double* out, const float* tensor, const float* nothing, long long number, long long yes,
                                double fraction)
{
    out += 8 * (blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
    if (threadIdx.x + 1 != blockDim.x) return;
    out[0] = tensor[1];
    out[1] = nothing == nullptr;
    out[2] = double(number);
    out[3] = double(yes);
    out[4] = fraction;
    out[5] = gridDim.y;
    out[6] = blockDim.x;
}
"""
HEARD = [7.0, 1.0, -float(2 ** 40), 1.0, 0.1]  # what `launch` says


def echo(index: int = 0) -> Kernels:
    from cuda.core import ObjectCode

    capability = torch.cuda.get_device_capability(index)
    architecture = compiler.architecture_for(capability, compiler.architectures())
    assert architecture.startswith("sm_")
    return Kernels(index, ObjectCode.from_cubin(compiler.compile_source(ECHO, architecture)))


def launch(run: Kernels, out: Tensor, tensor: Tensor, blocks: int | tuple[int, int, int] = 1) -> None:
    run.launch("echo", blocks, 64, out, tensor, None, -2 ** 40, True, 0.1)


def tensors(index: int = 0, blocks: int = 1) -> tuple[Tensor, Tensor]:
    device = torch.device("cuda", index)
    return torch.zeros(blocks + 1, 8, dtype=torch.float64, device=device), torch.tensor([5.0, 7.0], device=device)


@pytest.mark.gpu
@pytest.mark.parametrize(("blocks", "count", "rows"), [(3, 3, 1), ((2, 3, 4), 24, 3)])
def test_kernels_get_what_they_are_given(blocks: int | tuple[int, int, int], count: int, rows: int) -> None:
    out, tensor = tensors(blocks=count)
    launch(echo(), out, tensor, blocks)
    assert out.tolist() == [[*HEARD, rows, 64.0, 0.0]] * count + [[0.0] * 8]


@pytest.mark.gpu
def test_kernels_run_on_the_current_stream() -> None:
    out, tensor = tensors()
    run, stream = echo(), torch.cuda.Stream()
    launch(run, out, tensor)  # loading a kernel, at its first launch, may wait for everything
    out.zero_()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # clock cycles that this stream, and no other, waits for
        launch(run, out, tensor)
    assert not stream.query()
    assert out[0].tolist() == [0.0] * 8  # read on the default stream, which does not wait for that one
    stream.synchronize()
    assert out[0, :5].tolist() == HEARD


@pytest.mark.gpu
def test_kernels_run_in_a_thread_that_has_not_used_the_gpu() -> None:
    out, tensor = tensors()
    thread = Thread(target=launch, args=(echo(), out, tensor))
    thread.start()
    thread.join()
    torch.cuda.synchronize()
    assert out[0, :5].tolist() == HEARD


@pytest.mark.gpu
def test_kernels_run_on_every_gpu_and_leave_the_current_one_current() -> None:
    current = torch.cuda.current_device()
    for index in range(torch.cuda.device_count()):
        out, tensor = tensors(index)
        launch(echo(index), out, tensor)
        assert torch.cuda.current_device() == current
        assert out[0, :5].tolist() == HEARD


@pytest.mark.gpu
def test_a_program_is_loaded_once_for_each_gpu() -> None:
    current = torch.device("cuda", torch.cuda.current_device())
    assert kernels(torch.device("cuda"), SUMS, torch.float32) is kernels(current, SUMS, torch.float32)


def test_importing_the_library_does_not_start_cuda() -> None:
    code = ("import sys\nimport torch\nimport TriplaneGaussianReconLib.rasterizer.cuda\n"
            "from TriplaneGaussianReconLib.runtime.devices import choose\nchoose('cpu')\n"
            "print('cuda.core' in sys.modules, torch.cuda.is_initialized())")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    assert done.stdout.split() == ["False", "False"]
