"""`python -m TriplaneGaussianReconLib`, and the program `triplane-gaussian-recon`."""
from __future__ import annotations

import sys

from .command_line.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
