"""The stand-in that runs CUDA kernels on the CPU: what a GPU would give, and what it reports."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from cuda_on_host import IS_LINUX, Argument, HostKernels, KernelError, Order
from torch import Tensor

pytestmark = pytest.mark.skipif(not IS_LINUX, reason="CUDA kernels run on the CPU on Linux only")

ORDERS: tuple[Order, ...] = ("forward", "reverse", 7)
WARP = torch.arange(32)

SOURCE = r"""
typedef long long i64;
typedef unsigned long long u64;
#define EVERY 0xffffffffu
#define KERNEL extern "C" __global__ void

KERNEL number_threads(int* out)
{
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const int at = block * blockDim.x * blockDim.y * blockDim.z + thread;
    out[at] += at;
}

KERNEL take_arguments(double* out, const float* view, const int* nothing, i64 whole, double part)
{
    out[0] = view[0], out[1] = nothing == nullptr, out[2] = double(whole), out[3] = part;
}

template <int SIZE> __device__ __forceinline__ float total(float mine)
{
    __shared__ float parts[SIZE];
    parts[threadIdx.x] = mine;
    __syncthreads();
    for (int half = SIZE / 2; half; half /= 2) {
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
        __syncthreads();
    }
    return parts[0];
}

extern "C" __global__ __launch_bounds__(64) void sum_blocks(const float* in, float* out)
{
    const float sum = total<64>(in[blockIdx.x * blockDim.x + threadIdx.x]);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

template <class T> __device__ void shuffle(const i64* in, i64* out, int width)
{
    const int n = threadIdx.x;
    const T mine = T(in[n]);
    out[n] = i64(__shfl_sync(EVERY, mine, 5, width));
    out[n + 32] = i64(__shfl_up_sync(EVERY, mine, 3, width));
    out[n + 64] = i64(__shfl_down_sync(EVERY, mine, 3, width));
    out[n + 96] = i64(__shfl_xor_sync(EVERY, mine, 6, width));
}
KERNEL shuffle_int(const i64* in, i64* out, i64 width) { shuffle<int>(in, out, int(width)); }
KERNEL shuffle_unsigned(const i64* in, i64* out, i64 width) { shuffle<unsigned>(in, out, int(width)); }
KERNEL shuffle_i64(const i64* in, i64* out, i64 width) { shuffle<i64>(in, out, int(width)); }
KERNEL shuffle_float(const i64* in, i64* out, i64 width) { shuffle<float>(in, out, int(width)); }
KERNEL shuffle_double(const i64* in, i64* out, i64 width) { shuffle<double>(in, out, int(width)); }

KERNEL shuffle_from_absent(float* out)
{
    if (threadIdx.x % 2) return;
    out[threadIdx.x] = __shfl_sync(EVERY, float(threadIdx.x), threadIdx.x + threadIdx.x / 16);
}

KERNEL vote_apart(int* out)  // even lanes more often than odd ones, the last eight not at all
{
    const int n = threadIdx.x;
    if (n >= 24) return;
    if (n % 2) {
        out[n] = __ballot_sync(0xaaaaaau, n % 3 == 0);
    } else {
        for (int turn = 0; turn < 3; ++turn) out[n] = __match_any_sync(0xff555555u, n / 8);
    }
    out[n + 32] = __all_sync(EVERY, n < 24) * 2 + __all_sync(EVERY, n < 23);
    out[n + 64] = __any_sync(EVERY, n == 23) * 2 + __any_sync(EVERY, n == 24);
}

KERNEL see_active(int* out) { if (threadIdx.x % 4 == 1) out[threadIdx.x] = __activemask(); }

KERNEL vote_in_block(int* out)
{
    const int n = threadIdx.x;
    if (n >= 40) return;  // before others have met: they do not wait for it
    out[n] = __syncthreads_count(n % 2 == 0);
    out[n + 64] = __syncthreads_or(n == 39) * 2 + __syncthreads_or(n == 40);
    out[n + 128] = __syncthreads_and(n < 40) * 2 + __syncthreads_and(n < 39);
}

KERNEL add_atomically(const int* bins, int* histogram, float* sum, double* precise_sum, u64* tickets)
{
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(histogram + bins[n], 1);
    atomicAdd(sum, 0.5);
    atomicAdd(precise_sum, 0.25);
    tickets[n + 1] = atomicAdd(tickets, 1ull);
}

KERNEL change_atomically(int* in, unsigned* out)
{
    const unsigned mine = in[threadIdx.x];
    atomicMax(out, mine);
    atomicMin(out + 1, mine);
    atomicOr(out + 2, 1u << threadIdx.x);
    if (atomicCAS(out + 3, 99u, mine) == 99u) atomicExch(out + 4, mine);
}

KERNEL calculate(double* out)
{
    out[0] = min(-1, 2u) == 2u, out[1] = max(1, 2.5), out[2] = min(nanf(""), 3.0f), out[3] = max(-7ll, 2);
    out[4] = __float2ll_rn(2.5f), out[5] = __double2int_ru(2.1), out[6] = __double2int_rd(-2.1);
    out[7] = __float2int_rn(3e9f), out[8] = __float2int_rn(nanf("")), out[9] = __double2ll_rn(nan(""));
    out[10] = __popc(0xf0u), out[11] = __ffs(8), out[12] = __clz(1), out[13] = __clz(0), out[14] = __popcll(~0ull);
    out[15] = __int_as_float(__float_as_int(1.5f)), out[16] = __longlong_as_double(__double_as_longlong(-2.5));
    out[17] = rsqrtf(4.0f), out[18] = __fdividef(1.0f, 8.0f), out[19] = abs(-1.5f), out[20] = __expf(0.0f);
    const float4 v = make_float4(1, 2, 3, 4);
    out[21] = v.x + v.w + sizeof(float3) + alignof(float4);
}

KERNEL read_unwritten(float* out)
{
    __shared__ float never_written[32];
    __shared__ int earlier;
    out[threadIdx.x] = never_written[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) out[32 + blockIdx.x] = earlier == 5;
    __syncthreads();
    earlier = 5;
}

KERNEL race(int* out)
{
    __shared__ int last;
    last = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = last;
}

KERNEL divergent_barrier(int* out)
{
    if (threadIdx.x < 40)
        __syncthreads();
    else
        __syncthreads();
    out[0] = 1;
}
KERNEL absent_lane(int* out) { if (threadIdx.x) out[0] = __shfl_sync(EVERY, 1, 0); else __syncthreads(); }
KERNEL not_in_own_mask(int* out) { out[threadIdx.x] = __ballot_sync(1u, 1); }
KERNEL write_at(float* out, i64 at) { out[at] = 1; }
KERNEL write_shared_at(float* out, i64 at) { __shared__ float few[8]; few[at] = 1; out[0] = few[at]; }
KERNEL read_unaligned(float* out, i64 at) { out[0] = ((float4*)(out + at))->x; }
KERNEL wait_forever(int* out) { while (*(volatile int*)out == 0); }
KERNEL say(i64 number) { printf("number %lld\n", number); }
"""

@pytest.fixture(scope="module")
def kernels() -> HostKernels:
    return make()


def make(**options: Any) -> HostKernels:
    return HostKernels(SOURCE, **options)


def integers(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int32)


@pytest.mark.parametrize("order", ORDERS)
def test_every_thread_of_every_block_runs_once(order: Order) -> None:
    numbers = integers(24 * 30)
    make(order=order).launch("number_threads", (2, 3, 4), (5, 2, 3), numbers)
    assert torch.equal(numbers, torch.arange(24 * 30, dtype=torch.int32))


def test_arguments_arrive(kernels: HostKernels) -> None:
    out = torch.zeros(4, dtype=torch.float64)
    kernels.launch("take_arguments", 1, 1, out, torch.arange(6.0)[3:], None, -2 ** 40, 0.1)
    assert out.tolist() == [3.0, 1.0, -2.0 ** 40, 0.1]


def test_an_empty_tensor_has_no_address(kernels: HostKernels) -> None:
    out = torch.zeros(4, dtype=torch.float64)
    kernels.launch("take_arguments", 1, 1, out, torch.zeros(1), integers(0), 0, 0.0)
    assert out[1] == 1.0


@pytest.mark.parametrize("sanitize", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_threads_of_a_block_share_memory_and_meet(order: Order, sanitize: bool) -> None:
    numbers, sums = torch.arange(640.0), torch.zeros(10)
    make(order=order, sanitize=sanitize).launch("sum_blocks", 10, 64, numbers, sums)
    assert torch.equal(sums, numbers.view(10, 64).sum(1))


@pytest.mark.parametrize("number", ["int", "unsigned", "i64", "float", "double"])
@pytest.mark.parametrize("width", [4, 16, 32])
def test_lanes_shuffle_within_their_segment(kernels: HostKernels, width: int, number: str) -> None:
    numbers, out = 1000 + WARP, torch.zeros(4, 32, dtype=torch.int64)
    kernels.launch(f"shuffle_{number}", 1, 32, numbers, out, width)
    start, last = WARP // width * width, WARP // width * width + width - 1
    up, down, flipped = WARP - 3, WARP + 3, WARP ^ 6
    sources = [start + 5 % width, torch.where(up < start, WARP, up), torch.where(down > last, WARP, down),
               torch.where(flipped > last, WARP, flipped)]
    assert torch.equal(out, numbers[torch.stack(sources)])


def test_what_an_absent_lane_would_give_is_nan(kernels: HostKernels) -> None:
    out = torch.zeros(32)
    kernels.launch("shuffle_from_absent", 1, 32, out)
    assert torch.equal(out[:16:2], WARP[:16:2].float())
    assert out[16::2].isnan().all()


@pytest.mark.parametrize("order", ORDERS)
def test_lanes_vote_among_those_of_their_mask(order: Order) -> None:
    out = integers(3, 32)
    make(order=order).launch("vote_apart", 1, 32, out)
    odd = sum(1 << n for n in range(1, 24, 2) if n % 3 == 0)
    even = [0x55 << n // 8 * 8 for n in range(24)]
    assert out[0, :24].tolist() == [odd if n % 2 else even[n] for n in range(24)]
    assert out[1, :24].tolist() == [2] * 24
    assert out[2, :24].tolist() == [2] * 24


@pytest.mark.parametrize("order", ORDERS)
def test_the_active_lanes_are_those_that_came_the_same_way(order: Order) -> None:
    out = integers(32)
    make(order=order).launch("see_active", 1, 32, out)
    assert out[1::4].tolist() == [0x22222222] * 8


@pytest.mark.parametrize("order", ORDERS)
def test_a_block_votes_without_threads_that_have_finished(order: Order) -> None:
    out = integers(3, 64)
    make(order=order).launch("vote_in_block", 1, 64, out)
    assert out[:, :40].unique(dim=1).tolist() == [[20], [2], [2]]


@pytest.mark.parametrize("order", ORDERS)
def test_atomic_sums_lose_nothing(order: Order) -> None:
    bins = torch.arange(400, dtype=torch.int32) % 7
    histogram, tickets = integers(7), torch.zeros(401, dtype=torch.int64)
    total, precise_total = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    make(order=order).launch("add_atomically", 4, 100, bins, histogram, total, precise_total, tickets)
    assert torch.equal(histogram, torch.bincount(bins).int())
    assert (total.item(), precise_total.item()) == (200.0, 100.0)
    assert torch.equal(tickets[1:].sort().values, torch.arange(400))


@pytest.mark.parametrize("order", ORDERS)
def test_other_atomic_operations(order: Order) -> None:
    numbers, out = 10 + WARP.int(), torch.tensor([0, 1000, 0, 99, 0], dtype=torch.int32)
    make(order=order).launch("change_atomically", 1, 32, numbers, out)
    assert out[:3].tolist() == [41, 10, -1]
    assert out[3] == out[4] != 0


def test_arithmetic(kernels: HostKernels) -> None:
    out = torch.zeros(22, dtype=torch.float64)
    kernels.launch("calculate", 1, 1, out)
    assert out.tolist() == [1, 2.5, 3, 2, 2, 3, -3, 2 ** 31 - 1, 0, -2.0 ** 63, 4, 4, 31, 32, 64, 1.5, -2.5,
                            0.5, 0.125, 1.5, 1.0, 5 + 12 + 16]


def test_shared_memory_is_undefined_at_the_start_of_every_block(kernels: HostKernels) -> None:
    out = torch.zeros(34)
    kernels.launch("read_unwritten", 2, 32, out)
    assert out[:32].isnan().all()
    assert out[32:].tolist() == [0.0, 0.0]


def test_a_race_shows_in_another_order() -> None:
    results = []
    for order in ("forward", "reverse"):
        out = integers(64)
        make(order=order).launch("race", 1, 64, out)
        results.append(out.unique().tolist())
    assert results == [[63], [0]]


@pytest.mark.parametrize("sanitize", [False, True])
def test_threads_that_wait_at_different_barriers_are_reported(sanitize: bool) -> None:
    with pytest.raises(KernelError, match=r"kernel divergent_barrier, block \(0, 0, 0\): deadlock: 40 threads.* "
                                          r"wait at __syncthreads, kernels.cu:\d+ .*; 24 threads, the first .* 40"):
        make(sanitize=sanitize).launch("divergent_barrier", 3, 64, integers(1))


@pytest.mark.parametrize("order", ORDERS)
def test_a_lane_that_is_waited_for_but_elsewhere_is_reported(order: Order) -> None:
    with pytest.raises(KernelError, match="31 threads, the first of them 1, wait at a shuffle"):
        make(order=order).launch("absent_lane", 1, 32, integers(1))


def test_a_lane_that_is_not_in_its_own_mask_is_reported(kernels: HostKernels) -> None:
    with pytest.raises(KernelError, match=r"thread \(1, 0, 0\): kernels.cu:\d+: lane 1 is not in its own mask 0+1"):
        kernels.launch("not_in_own_mask", 1, 32, integers(32))


def test_a_crash_is_reported_and_the_next_launch_works(kernels: HostKernels) -> None:
    out = torch.zeros(8)
    with pytest.raises(KernelError, match=r"kernel write_at, block \(0, 0, 0\), thread \(0, 0, 0\): Segmentation"):
        kernels.launch("write_at", 3, 1, out, 2 ** 44)
    kernels.launch("write_at", 1, 1, out, 3)
    assert out.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(("name", "at", "report"), [
    ("write_at", 8, "heap-buffer-overflow"),
    ("write_at", -1, "heap-buffer-overflow"),
    ("write_shared_at", 8, "index 8 out of bounds"),
    ("read_unaligned", 1, "misaligned address"),
])
def test_the_sanitizer_reports_what_is_out_of_bounds(name: str, at: int, report: str) -> None:
    with pytest.raises(KernelError, match=rf"(?s)kernels.cu:\d+.*{report}|{report}.*kernels.cu:\d+"):
        make(sanitize=True).launch(name, 1, 1, torch.zeros(8), at)


def test_the_sanitizer_lets_pass_what_is_right() -> None:
    out = torch.zeros(8)
    make(sanitize=True).launch("write_at", 1, 1, out, 7)
    assert out.tolist() == [0, 0, 0, 0, 0, 0, 0, 1]


def test_a_thread_that_loops_forever_is_given_up() -> None:
    with pytest.raises(KernelError, match="not done in time"):
        make(patience=1).launch("wait_forever", 1, 1, integers(1))


@pytest.mark.parametrize(("arguments", "reason"), [
    ((torch.zeros(1, dtype=torch.float64), 0), "argument 0 points to another type"),
    ((torch.zeros(1, dtype=torch.int32), 0), "argument 0 points to another type"),
    ((torch.zeros(1), 0.0), "argument 1 has another type"),
    ((0, 0), "argument 0 is a pointer"),
    ((torch.zeros(1),), "1 arguments were passed, it takes 2"),
])
def test_arguments_that_do_not_fit_are_reported(kernels: HostKernels, arguments: tuple[Argument, ...],
                                                reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        kernels.launch("write_at", 1, 1, *arguments)


def test_a_tensor_that_is_not_contiguous_is_refused(kernels: HostKernels) -> None:
    with pytest.raises(ValueError, match=r"a tensor \(4,\) on cpu is not contiguous"):
        kernels.launch("write_at", 1, 1, torch.zeros(8)[::2], 0)


@pytest.mark.parametrize(("blocks", "threads"), [(0, 32), (1, 65), ((1, 65536, 1), 1)])
def test_what_cuda_would_not_launch_is_refused(kernels: HostKernels, blocks: int, threads: int) -> None:
    with pytest.raises(ValueError, match="CUDA cannot launch 'sum_blocks'"):
        kernels.launch("sum_blocks", blocks, threads, torch.zeros(64), torch.zeros(1))


def test_what_a_kernel_prints_is_passed_on(kernels: HostKernels, capsys: pytest.CaptureFixture[str]) -> None:
    kernels.launch("say", 2, 1, 5)
    assert capsys.readouterr().err == "number 5\nnumber 5\n"


def test_source_that_does_not_compile_is_reported() -> None:
    with pytest.raises(KernelError, match="(?s)does not compile.*pointers, long long or double"):
        HostKernels('extern "C" __global__ void wrong(int number) {}')


def test_threads_at_the_same_line_of_two_files_do_not_meet() -> None:
    """A text of several files has `#line` directives."""
    text = """
#line 1 "first.cuh"
__device__ void first() { __syncthreads(); }
#line 1 "second.cu"
__device__ void second() { __syncthreads(); }
extern "C" __global__ void part(int* out) { if (threadIdx.x < 40) first(); else second(); }
"""
    with pytest.raises(KernelError, match=r"40 threads, .* first.cuh:1 .*; 24 threads, .* second.cu:1 "):
        HostKernels(text).launch("part", 1, 64, integers(1))
