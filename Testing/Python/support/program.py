"""The real command line in a process of its own, with whatever it is to survive done to it from outside.

Most processes are forked from one that has imported all packages, which saves a second each; from `main` on, and in how
they end, they are as real as those that are started anew.
"""
from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from repository import ROOT

QUICK = ("--preset", "paper-displaced", "--device", "cpu", "--slices", "0,3")  # learns nothing beforehand
_MODULES = ("torch", "numba", "cv2", "SimpleITK", "scipy.ndimage", "rich.table", "safetensors.torch", "psutil",
            "TriplaneGaussianReconLib.command_line.reconstruct", "TriplaneGaussianReconLib.command_line.render",
            "TriplaneGaussianReconLib.command_line.info", "TriplaneGaussianReconLib.rasterizer.cpu")


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code, and what it wrote where that was kept."""

    code: int
    out: str
    err: str


class Program:
    """Starts the command line in `folder`."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self._server = folder, server

    def __call__(self, *arguments: object, stdout: int | None = None, stderr: int | None = None, cold: bool = False,
                 environment: Mapping[str, str | None] | None = None, before: Callable[[], object] | None = None,
                 python: tuple[str, ...] = ()) -> Ended:
        """Run it.

        Args:
            arguments: Of the command line; bytes for what is no text.
            stdout: Where to write; None keeps it, -1 closes it.
            stderr: As `stdout`.
            cold: Start Python anew; so does all of the following.
            environment: Variables to set, or to remove.
            before: Called in the new process before the program starts.
            python: Options of the interpreter.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            streams = [out.fileno() if stdout is None else stdout, err.fileno() if stderr is None else stderr]
            argv = [part if isinstance(part, bytes) else os.fsencode(str(part)) for part in arguments]
            if cold or environment or before or python:
                code = self._cold(argv, streams, environment or {}, before, python)
            else:
                code = self._server.run(self.folder, argv, streams)
            return Ended(code, _content(out), _content(err))

    def _cold(self, argv: list[bytes], streams: list[int], environment: Mapping[str, str | None],
              before: Callable[[], object] | None, python: tuple[str, ...]) -> int:
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}

        def prepare() -> None:
            for number, stream in enumerate(streams, start=1):
                if stream == -1:
                    os.close(number)
            if before is not None:
                before()

        return subprocess.run(
            [sys.executable, *python, "-m", "TriplaneGaussianReconLib", *argv], cwd=self.folder, preexec_fn=prepare,
            stdin=subprocess.DEVNULL, stdout=None if streams[0] == -1 else streams[0],
            stderr=None if streams[1] == -1 else streams[1], timeout=120,
            env={name: value for name, value in variables.items() if value is not None}).returncode


class Server:
    """The process that has imported everything; to be used in a `with`."""

    def __enter__(self) -> Server:
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], cwd=ROOT,
                                             env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                                             pass_fds=[theirs.fileno()])
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait(60)

    def run(self, folder: Path, argv: list[bytes], streams: list[int]) -> int:
        """Run the program in a fork; returns its exit code."""
        request = b"\0".join([os.fsencode(folder), b"".join(b"01"[s != -1:][:1] for s in streams), *argv])
        socket.send_fds(self._socket, [len(request).to_bytes(4, "little") + request],
                        [stream for stream in streams if stream != -1])
        return int(self._socket.recv(64))


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _serve(connection: socket.socket) -> None:
    import importlib

    for name in _MODULES:
        importlib.import_module(name)
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 2 ** 16, 2)
        if not message:
            return
        folder, wanted, *argv = message[4:].split(b"\0")
        if not (child := os.fork()):
            connection.close()
            _become(folder, wanted, descriptors, argv)
            return
        for number in descriptors:
            os.close(number)
        status = os.waitpid(child, 0)[1]
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(folder: bytes, wanted: bytes, descriptors: list[int], argv: list[bytes]) -> None:
    """Let this process be as if it had been started with these streams and arguments."""
    from TriplaneGaussianReconLib.__main__ import main

    for number, is_wanted in enumerate(wanted, start=1):
        if is_wanted == ord("1"):
            os.dup2(descriptors.pop(0), number)
        else:
            os.close(number)
            setattr(sys, ("stdout", "stderr")[number - 1], None)
    os.chdir(folder)
    sys.argv = ["triplane-gaussian-recon", *map(os.fsdecode, argv)]
    sys.exit(main())


def contents(folder: Path) -> dict[str, str]:
    """Digests of all files below `folder`, hidden ones too."""
    return {os.fsdecode(bytes(path.relative_to(folder))): hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file() else "" for path in folder.rglob("*")}


@contextmanager
def unharmed(folder: Path, *new: str) -> Iterator[None]:
    """Check that what is in `folder` stays as it is, and that nothing comes but the files `new`."""
    before = contents(folder)
    yield
    after: dict[str, Any] = contents(folder)
    for name in new:
        assert after.pop(name, None), f"{name} was not written"
        before.pop(name, None)
    assert after == before


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
