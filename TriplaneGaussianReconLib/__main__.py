"""`python -m TriplaneGaussianReconLib`, and the program `triplane-gaussian-recon`."""
from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    try:
        from .runtime.standard_streams import open_standard_streams
        from .runtime.stop_signals import ignore_stop_signals

        open_standard_streams()
        from .command_line.main import main as run

        exit_code = run()
        ignore_stop_signals()  # all is done: another one must not change how it ended
        return exit_code
    except KeyboardInterrupt:  # before the command line could take care of it
        return 130


if __name__ == "__main__":
    sys.exit(main())
