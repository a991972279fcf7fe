"""Methods whose packages need an environment of their own: they are used as programs, through files in a folder."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import BackendUnavailableError, MissingPackageError, ReconstructionError
from ..io.temporary_folders import TemporaryFolder

_CHECK = "import {package}, torch; print(torch.cuda.is_available())"
# Runs a program, and ends it, with the processes that it has started, when the other end of its standard input is
# closed: with the process that waits for it.
_RUN = """\
import os, signal, threading
def end():
    os.read(0, 1)
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
threading.Thread(target=end, daemon=True).start()
from {module} import {function}
{function}()
"""
_LAST_LINES = 3  # of what a program said that failed


@dataclass(frozen=True)
class OtherPython:
    """A package in another environment.

    Attributes:
        path: The interpreter of that environment; None if there is none.
        title: What the package is called.
        package: Its name, to install and to import.
        option: Of the command line, for `path`.
    """

    path: str | None
    title: str
    package: str
    option: str

    def check(self, on_gpu: bool) -> None:
        """Make sure that it can run.

        Args:
            on_gpu: Whether it is to use a GPU.

        Raises:
            MissingPackageError: There is no such interpreter, or it has no such package.
            BackendUnavailableError: It cannot use a GPU.
        """
        check = _CHECK.format(package=self.package)
        with TemporaryFolder() as empty:  # Python imports from the folder in which it is started
            checked = subprocess.run([self._interpreter(), "-E", "-c", check], cwd=empty, stdin=subprocess.DEVNULL,
                                     capture_output=True, text=True)
        if checked.returncode != 0:
            raise MissingPackageError(f"{self.title} cannot be imported by '{self.path}': {_last(checked.stderr, 1)}. "
                                      f"Install it there with 'python -m pip install {self.package}'.")
        if on_gpu and checked.stdout.split()[-1] != "True":
            raise BackendUnavailableError(f"The torch of '{self.path}' cannot use the GPU. Install one that is built "
                                          "for its driver there, or choose --device cpu, which takes long.")

    def run(self, module: str, function: str, arguments: Sequence[str], folder: Path,
            environment: Mapping[str, str] | None = None) -> None:
        """Run a program of the package in `folder`, and wait for it.

        Args:
            module: Where the program is.
            function: That starts it.
            arguments: Of its command line.
            folder: Where it is started; its output goes to `log.txt` there.
            environment: Further variables.

        Raises:
            MissingPackageError: There is no such interpreter.
            ReconstructionError: It failed.
        """
        command = [self._interpreter(), "-E", "-c", _RUN.format(module=module, function=function), *arguments]
        with (folder / "log.txt").open("wb") as log, subprocess.Popen(
                command, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})}, start_new_session=True) as process:
            code = process.wait()
        if code != 0:
            said = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
            raise ReconstructionError(f"{self.title} ended with exit code {code}: {_last(said, _LAST_LINES)}")

    def _interpreter(self) -> str:
        """The absolute path of `path`, links not followed, as they are what makes an environment."""
        found = shutil.which(self.path) if self.path is not None else None
        if found is None:
            problem = "needs an environment of its own" if self.path is None else f"found no Python '{self.path}'"
            raise MissingPackageError(f"{self.title} {problem}. Make one with 'python -m venv FOLDER', install it "
                                      f"there with 'FOLDER/bin/python -m pip install {self.package}', and give "
                                      f"{self.option} FOLDER/bin/python (on Windows FOLDER\\Scripts\\python.exe).")
        return os.path.abspath(found)


def _last(text: str, lines: int) -> str:
    """The last lines of what a program said; a progress bar's states count as lines."""
    return " | ".join([line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()][-lines:]) or "no message"
