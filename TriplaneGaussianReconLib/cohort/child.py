"""The process of a case: runs a program of this library as if it had been started with these arguments.

Where processes can be forked, `fork_server` makes it by `become`, with all imports done.  Elsewhere it is started anew:
`python -m TriplaneGaussianReconLib.cohort.child`, with the task on the first line of standard input.
"""
from __future__ import annotations

import ctypes
import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import FileIO, TextIOWrapper
from typing import NoReturn

_PARENT_DIED = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


@dataclass(frozen=True)
class Task:
    """A program to run in a process of its own.

    Attributes:
        module: Whose `main` is called without arguments; it returns the exit code.
        arguments: Of the program, which it finds in `sys.argv`.
        log: File to which standard output and standard error are added.
        environment: Variables to set.
    """

    module: str
    arguments: tuple[str, ...]
    log: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Task:
        """Read what `to_line` made."""
        content = json.loads(line)
        return cls(content["module"], tuple(content["arguments"]), content["log"], content["environment"])


def become(task: Task) -> NoReturn:
    """Let this process be the program; does not return."""
    code = 1
    try:
        _redirect(task.log)
        os.environ.update(task.environment)
        sys.argv = [task.module, *task.arguments]
        code = importlib.import_module(task.module).main()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs into the log, and this process ends
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
        else:
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # all is written; taking the libraries apart takes long, and with a GPU may crash


def die_with(parent: int) -> None:
    """Let this process end by force when its parent has ended, however that happened.  Linux alone.

    parent: the parent's process id, for the case that it has ended before.
    """
    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _redirect(log: str) -> None:
    """Let standard output and standard error go to the end of the file `log`, and standard input be empty."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    for number in (1, 2):
        os.dup2(target, number)
    sys.stdout, sys.stderr = (TextIOWrapper(FileIO(number, "w", closefd=False), "utf-8", "backslashreplace",
                                            line_buffering=True) for number in (1, 2))
    faulthandler.enable(2)  # a crash leaves in the log where it happened


def _end_after(source: int) -> None:
    """Wait until nobody holds the other end of the pipe `source` any more, then end, with all that was started."""
    while os.read(source, 4096):
        pass
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def main() -> NoReturn:
    """Read the task from standard input; when its other end is closed, the parent is gone and so is this process."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            os._exit(1)
        line += piece
    threading.Thread(target=_end_after, args=(os.dup(0),), daemon=True).start()
    become(Task.from_line(line.decode("utf-8")))


if __name__ == "__main__":
    main()
