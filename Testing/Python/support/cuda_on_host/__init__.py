"""Runs CUDA kernels on the CPU, from their own source: slowly, but with more checks than a GPU makes.

`HostKernels` compiles the source as C++ together with `driver.cpp`, into a program of its own; `cuda_on_host.h` is the
part of CUDA that it understands. That program launches kernels on copies of the tensors, which are then copied back. A
crash ends that program, not the tests: it is raised as `KernelError`. What kernels print appears on the standard error.
Needs Linux with g++ or clang++, and binutils.
"""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import weakref
from functools import cached_property
from pathlib import Path
from typing import IO, Literal

import torch
from torch import Tensor

Argument = Tensor | int | float | None
Order = Literal["forward", "reverse"] | int

# Elsewhere they cannot run.
IS_LINUX = sys.platform.startswith("linux")
_HERE = Path(__file__).parent
_FLAGS = ("-std=c++17", "-O2", "-g", "-no-pie", "-fno-strict-aliasing", "-ffp-contract=off")
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
_BOUNDS = r"(?:__launch_bounds__\s*\(\s*([^,)]*)[^)]*\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(")


class KernelError(RuntimeError):
    """A kernel did what it must not do: the message is what the program said when it ended."""


def compiler() -> str:
    """The C++ compiler to use; raises KernelError where one is missing, or binutils."""
    names = (os.environ.get("CXX"), "g++", "clang++")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None or shutil.which("nm") is None:
        raise KernelError("To run CUDA kernels on the CPU, install g++ (or clang++, or set CXX) and binutils.")
    return found


class HostKernels:
    """The kernels of one source text.

    Args:
        source: The text. Its kernels are `extern "C"`; their parameters are pointers, `long long` or `double`.
        sanitize: Stop at accesses out of bounds and at undefined behaviour. Up to twice as slow.
        order: In which order blocks, warps and lanes take their turns. A number is the seed of a shuffled order.
            Results that depend on the order show a race.
        patience: Seconds after which a launch is given up.

    Raises:
        KernelError: The source does not compile; the message is the compiler's.
    """

    def __init__(self, source: str, sanitize: bool = False, order: Order = "forward", patience: int = 300) -> None:
        self._most_threads = _kernels(source)
        self._program = _build(source, list(self._most_threads), sanitize)
        self._order, self._patience = order, patience
        self._shared = _shared_variables(self._program)

    def launch(self, name: str, blocks: int | tuple[int, int, int], threads: int | tuple[int, int, int],
               *arguments: Argument) -> None:
        """Run a kernel to its end: tensors (CPU) are passed as pointers, int as `long long`, float as `double`.

        Raises:
            KernelError: The kernel crashed, its threads wait for each other forever, or the arguments do not fit it.
            KeyError: There is no such kernel.
            ValueError: CUDA does not launch so many blocks or threads, or a tensor is not contiguous.
        """
        grid, block = _three(blocks), _three(threads)
        most = self._most_threads[name]
        if min(grid + block) < 1 or block[0] * block[1] * block[2] > most or max(grid[1:]) > 65535 or block[2] > 64:
            raise ValueError(f"CUDA cannot launch {name!r} with {grid} blocks of {block} threads")
        storages = _storages(arguments)
        seed = self._order if isinstance(self._order, int) else 0
        order = "s" if isinstance(self._order, int) else self._order[0]
        request = struct.pack("<12q", list(self._most_threads).index(name), *grid, *block, ord(order), seed,
                              self._patience, len(storages), len(arguments))
        program = self._running
        try:
            program.ask(request, storages, b"".join(_packed(argument, storages) for argument in arguments))
        except (EOFError, BrokenPipeError):
            del self._running  # the next launch starts another
            raise KernelError(f"{name}: {program.last_words()}") from None

    @cached_property
    def _running(self) -> _Program:
        return _Program(self._program, self._shared)


class _Program:
    """The running program, which ends with this object."""

    def __init__(self, path: Path, shared: bytes) -> None:
        options = {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
                   "UBSAN_OPTIONS": "print_stacktrace=1"}
        with tempfile.NamedTemporaryFile() as said:
            self._said = open(said.name, "rb")  # noqa: SIM115  # to read what the other one writes
            self._process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
                                             env=os.environ | options)
        weakref.finalize(self, _end, self._process, self._said)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._requests.write(shared)

    def ask(self, request: bytes, storages: dict[int, memoryview], arguments: bytes) -> None:
        """Send a request, and take the storages back; EOFError or BrokenPipeError if the program has ended."""
        self._requests.write(request)
        for storage in storages.values():
            self._requests.write(struct.pack("<q", len(storage)))
            self._requests.write(storage)
        self._requests.write(arguments)
        self._requests.flush()
        for storage in storages.values():
            _read_into(self._answers, storage)
        _read_into(self._answers, memoryview(bytearray(1)))
        sys.stderr.write(self._news())

    def last_words(self) -> str:
        """What the program said before it ended."""
        code = self._process.wait()
        return self._news().strip() or f"its program has ended with code {code}"

    def _news(self) -> str:
        """What the program, or a kernel, has printed since the last time."""
        return self._said.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    process.kill()
    process.communicate()
    said.close()


def _read_into(file: IO[bytes], target: memoryview) -> None:
    while len(target):
        count = file.readinto(target)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        target = target[count:]


def _three(size: int | tuple[int, int, int]) -> tuple[int, int, int]:
    return (size, 1, 1) if isinstance(size, int) else size


def _storages(arguments: tuple[Argument, ...]) -> dict[int, memoryview]:
    """The memory behind the tensors, each once, by its address."""
    storages = {}
    for tensor in arguments:
        if not isinstance(tensor, Tensor) or tensor.numel() == 0:
            continue
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise ValueError(f"a tensor {tuple(tensor.shape)} on {tensor.device} is not contiguous, or not on the CPU")
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = torch.empty(0, dtype=torch.uint8).set_(storage).numpy().data
    return storages


def _packed(argument: Argument, storages: dict[int, memoryview]) -> bytes:
    """An argument as `Argument` of `cuda_on_host.h`; a pointer is the number of its storage, and an offset."""
    if argument is None or isinstance(argument, Tensor) and argument.numel() == 0:  # torch has no address for those
        return struct.pack("<qqq", ord("N"), 0, 0)
    if isinstance(argument, Tensor):
        address = argument.untyped_storage().data_ptr()
        offset = argument.storage_offset() * argument.element_size()
        kind = "F" if argument.dtype.is_floating_point else "I"
        return struct.pack("<qqqq", ord(kind), argument.element_size(), list(storages).index(address), offset)
    if isinstance(argument, float):
        return struct.pack("<qqd", ord("f"), 0, argument)
    return struct.pack("<qqq", ord("i"), 0, argument)


def _compile(options: list[str | Path], text: str | None = None) -> str:
    """Run the compiler, on `text` as its standard input if there is one; what it printed."""
    done = subprocess.run([compiler(), *options], input=text, capture_output=True, text=True)
    if done.returncode:
        raise KernelError(f"The source does not compile\n{done.stderr}")
    return done.stdout


def _kernels(source: str) -> dict[str, int]:
    """The kernels of a source and their largest number of threads in a block."""
    found = _KERNEL.findall(_compile(["-E", "-P", "-x", "c++", "-"], source))
    return {name: int(bound) if (bound := before or after).isdigit() else 1024 for before, after, name in found}


def _build(source: str, names: list[str], sanitize: bool) -> Path:
    """Compile the program, unless it is in the temporary folder already."""
    table = "".join(f'    {{"{name}", [](const Argument* a, int n) {{ call({name}, a, n); }}}},\n' for name in names)
    text = (f'#include "{_HERE / "cuda_on_host.h"}"\n'
            f'namespace {{\n#line 1 "kernels.cu"\n{source}\n}}\n#line 1 "table of kernels"\n'
            f'namespace cuda_on_host {{\nconst Kernel kernels[] = {{\n{table}}};\n}}\n')
    checks = [*_SANITIZE] if sanitize else []
    key = hashlib.sha256("\0".join([text, compiler(), *_FLAGS, *checks]).encode())
    for file in (_HERE / "cuda_on_host.h", _HERE / "driver.cpp"):
        key.update(file.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"cuda_on_host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    program = folder / key.hexdigest()
    if not program.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            output, kernels, driver = (Path(place) / name for name in ("program", "kernels.o", "driver.o"))
            _compile(["-x", "c++", "-", "-c", *_FLAGS, *checks, "-o", kernels], text)
            _compile([_HERE / "driver.cpp", "-c", *_FLAGS, f"-DCUDA_ON_HOST_SANITIZE={int(sanitize)}", "-o", driver])
            _compile([kernels, driver, "-no-pie", *checks, "-o", output])
            output.replace(program)  # at once, in case another process builds the same
    return program


def _shared_variables(program: Path) -> bytes:
    """Number, then address and size of each variable that is static in a function: those declared `__shared__`."""
    symbols = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in symbols.splitlines()]
    ranges = [(int(entry[0], 16), int(entry[1], 16)) for entry in found
              if len(entry) == 4 and entry[2] in "bBdDuV" and entry[3].startswith("_ZZ")]
    return struct.pack("<q", len(ranges)) + b"".join(struct.pack("<qq", *entry) for entry in ranges)
