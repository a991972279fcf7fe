"""What `--verbose` adds to the summary of a reconstruction, and what becomes of `--memory`."""
from __future__ import annotations

from ..config.stages import STAGES
from ..evaluation.peak_memory import peak_memory
from ..pipeline.report import Report
from .console import detail, warn
from .words import memory_size


def tell_details(report: Report, limit: int | None) -> None:
    """Tell where the time went, which predictions were believed, and how much memory was held.

    Args:
        report: Of the reconstruction.
        limit: Bytes that were allowed; a warning tells where it took more.
    """
    for name, seconds in report.seconds.items():
        if seconds:
            detail(f"{seconds:7.1f} s  {STAGES[name].sentence}")
    if report.weights:
        detail("Weights of the predictions: " + ", ".join(f"{name} {weight:.2f}"
                                                          for name, weight in report.weights.items()) + ".")
    if report.slabs > 1:
        detail(f"The volume was worked on in {report.slabs} slabs.")
    peak = peak_memory()
    if peak is not None:
        detail(f"Memory at the peak: {memory_size(peak)}.")
    if limit is not None and peak is not None and peak > limit:
        warn(f"It took {memory_size(peak)} at the peak, and --memory allows {memory_size(limit)}: input, result and "
             "libraries cannot be cut. Crop the volume, or choose a larger slice spacing.")
