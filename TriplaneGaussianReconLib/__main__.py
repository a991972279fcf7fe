"""`python -m TriplaneGaussianReconLib`, and the program `triplane-gaussian-recon`."""
from __future__ import annotations

import sys

from .command_line.main import main as run
from .runtime.stop_signals import ignore_stop_signals


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    exit_code = run()
    ignore_stop_signals()  # all is done: another one must not change how it ended
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
