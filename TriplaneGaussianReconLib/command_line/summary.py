"""What is said when a reconstruction is done."""
from __future__ import annotations

from ..pipeline.report import Report
from .console import say


def summarise(report: Report, written: dict[str, str], seconds: float) -> None:
    """Print what a run wrote (what each path holds), and what its report says; seconds: it took so long."""
    for path, content in written.items():
        say(f"{content + ':':<17}{path}")
    provenance, check = report.provenance, report.self_check
    if report.completion is not None:
        filled, following = report.completion.slices.filled, report.completion.next_slices
        further = f"; to draw next: slice {following[0]}" if following else ""  # none where nothing is in doubt
        say(f"Labels of {len(filled)} slice{'s' * (len(filled) != 1)} filled{further}.")
    if report.gaussians:
        slices = sum(len(volume.trusted) for volume in report.volumes) or provenance.trusted_slices
        say(f"{report.gaussians} Gaussians from {slices} slices in {seconds:.1f} s ({provenance.device}).")
    else:
        say(f"The image is that of the input. Done in {seconds:.1f} s ({provenance.device}).")
    say(f"Self check: {check.found}")
    if report.expected_error is not None:
        say(f"Expected error: {report.expected_error}.")
    if check.doubt:
        say(check.doubt)
    if provenance.hidden_pixels is not None:
        say(provenance.hidden_pixels.choice)
    if report.texture is not None:
        say(report.texture.note)
    say(provenance.note)
