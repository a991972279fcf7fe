"""The tables of Liu et al. on volumes at hand: one axis (their Table 1), three axes with labels (Tables 2 and 3)."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..config.presets import Preset
from ..data.geometry import AXES, array_axis
from ..data.images import Image, Segmentation
from ..data.observations import Observations
from ..data.selection import Selection
from ..pipeline.reconstruction import Memory, reconstruct
from . import metrics
from .child_process import run_method
from .comparison import ImagePair
from .lpips import Lpips
from .methods import Method
from .shown import painted, segment_colors

SHARES = (25.0, 50.0, 95.0)  # per cent of the slices of one axis that are used
ALL_AXES_SHARE = 95.0  # of those of each of three axes; they do not tell theirs, InnerGS has this one

# Their figures, as printed: SSIM, PSNR (dB), LPIPS of fetal ultrasound of 160 x 160 x 160 voxels, their Table 1.
PUBLISHED: dict[tuple[float, str], tuple[float, float, float]] = {
    (25.0, "InnerGS"): (0.9664, 34.74, 0.0740), (25.0, "theirs"): (0.9812, 37.61, 0.0433),
    (50.0, "InnerGS"): (0.9851, 38.14, 0.0434), (50.0, "theirs"): (0.9947, 41.44, 0.0255),
    (95.0, "InnerGS"): (0.9876, 38.00, 0.0371), (95.0, "theirs"): (0.9963, 41.90, 0.0208)}
# SSIM, PSNR (dB), semantic loss, their Tables 2 (prostate) and 3 (heart).
PUBLISHED_AXES: dict[tuple[str, str], tuple[float, float, float]] = {
    ("axial", "prostate"): (0.9616, 35.78, 0.0133), ("coronal", "prostate"): (0.8627, 29.45, 0.0022),
    ("sagittal", "prostate"): (0.9437, 32.04, 0.0046), ("axial", "heart"): (0.9616, 35.78, 0.0133),
    ("coronal", "heart"): (0.9798, 41.05, 0.0118), ("sagittal", "heart"): (0.9656, 35.07, 0.0137)}
DIFFERENCES = ("Published figures are of other scans. How their slices were drawn is not told, nor whether their ± is "
               "over slices or scans; here slices are spread evenly and ± is over scans.",
               "With three axes almost every pixel of a hidden slice lies on used slices of the others: that is hardly "
               "a test of what lies between slices. The semantic loss depends on the colours of the labels.")


@dataclass(frozen=True)
class Scan:
    """A volume to be filled; image normalised to [0, 1]."""

    name: str
    image: Image
    segmentation: Segmentation | None = None


@dataclass
class PaperRow:
    """A method with some of the slices.

    Attributes:
        given: Which slices: per cent of one axis, or the axis on which was scored.
        method: Its name.
        scores: ssim, psnr, lpips or semantic_loss -> its value for each scan.
        failures: What went wrong, by scan.
    """

    given: float | str
    method: str
    scores: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, found: Mapping[str, float]) -> None:
        """Note the scores of a further scan."""
        for name, value in found.items():
            self.scores.setdefault(name, []).append(value)


def one_axis(scans: Sequence[Scan], methods: Mapping[str, Method], lpips: Lpips | None,
             announce: Callable[[str], None] = lambda what: None) -> list[PaperRow]:
    """Fill the slices of one axis, of which 25, 50 and 95 % are given; each method in a process of its own.

    Args:
        scans: What to fill, along the axis of the largest spacing, k if equal.
        methods: By name.
        lpips: None leaves it out.
        announce: Called with what comes next.
    """
    rows = [PaperRow(share, name) for share in SHARES for name in methods]
    for row in rows:
        for scan in scans:
            announce(f"{scan.name}, {row.given:g} %: {row.method}")
            axis = scan.image.grid.thickest_axis()
            selection = Selection.percentage(scan.image.grid.count(axis), float(row.given))
            outcome = run_method(methods[row.method], scan.image, None, axis, selection)
            if outcome.result.volume is None:
                row.failures[scan.name] = outcome.failure or "no volume"
                continue
            truth, filled = (np.moveaxis(array, array_axis(axis), 0)[_hidden(selection)]
                             for array in (scan.image.array, outcome.result.volume))
            row.add(_image_scores(truth, filled, lpips))
    return rows


def three_axes(scans: Sequence[Scan], presets: Mapping[str, Preset], device: str, seed: int,
               announce: Callable[[str], None] = lambda what: None) -> list[PaperRow]:
    """Fill from 95 % of the slices of all three axes at once, and score each axis by the others of its slices.

    Args:
        scans: What to fill; labels are, too, where there are some.
        presets: By name.
        device: See `pipeline.reconstruction.reconstruct`.
        seed: Likewise.
        announce: Called with what comes next.
    """
    rows = {(axis, name): PaperRow(axis, name) for name in presets for axis in AXES}
    for name, preset in presets.items():
        for scan in scans:
            announce(f"{scan.name}, three axes: {name}")
            given = {axis: Selection.percentage(scan.image.grid.count(axis), ALL_AXES_SHARE) for axis in AXES}
            made = reconstruct(Observations.from_volume(scan.image, given, scan.segmentation), scan.image.grid,
                               preset=preset, device=device, seed=seed, memory=Memory(keep_model=True))
            for axis in AXES:
                hidden = _hidden(given[axis])
                truth, filled = (np.moveaxis(array, array_axis(axis), 0)[hidden]
                                 for array in (scan.image.array, made.volume.array))
                found = _image_scores(truth, filled, None)
                if scan.segmentation is not None and made.segmentation is not None:
                    segments = scan.segmentation.segments
                    labels, drawn = (painted([np.moveaxis(layer, array_axis(axis), 0)[hidden] for layer in each.layers],
                                             segments) for each in (scan.segmentation, made.segmentation))
                    found["semantic_loss"] = metrics.semantic_loss(labels, drawn, segment_colors(segments))
                rows[axis, name].add(found)
    return list(rows.values())


def _hidden(selection: Selection) -> np.ndarray:
    """Numbers of the slices that are not used."""
    return np.setdiff1d(np.arange(selection.count), selection.indices)


def _image_scores(truth: np.ndarray, filled: np.ndarray, lpips: Lpips | None) -> dict[str, float]:
    """Means over the slices that are not blank."""
    pair = ImagePair.of(truth, filled)
    measures: Iterable[tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = [
        ("ssim", metrics.ssim), ("psnr", metrics.psnr), *([("lpips", lpips.distance)] if lpips is not None else [])]
    return {name: float(np.mean(measure(pair.truth, pair.estimate))) for name, measure in measures}
