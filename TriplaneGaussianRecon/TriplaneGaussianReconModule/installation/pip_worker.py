"""Runs pip, or light-the-torch, in a process that ends as soon as nobody is left who could write to it.

    python pip_worker.py MODULE ARGUMENT...

In Slicer a launcher lies between the application and the interpreter. Where the launcher is killed, or the application
crashes, the interpreter's input is closed: so it ends on every system, without a list of processes, which would take a
package that is yet to be installed.
"""
from __future__ import annotations

import os
import runpy
import sys
import threading

_ABANDONED = 75  # the exit code


def _endWithInput() -> None:
    """Wait until the input is closed, and end at once."""
    while os.read(0, 1024):  # not by `sys.stdin`, whose lock would crash the interpreter at a regular end
        pass
    os._exit(_ABANDONED)


if __name__ == "__main__":
    threading.Thread(target=_endWithInput, daemon=True).start()
    module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    sys.path[:] = [folder for folder in sys.path if folder != os.path.dirname(os.path.abspath(__file__))]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
