"""Words for what the panel shows: durations, sizes, stages, directions, quality; and the library's words translated."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.config.stages import STAGES
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.estimates import Estimate
from TriplaneGaussianReconLib.jobs.sentences import Sentence

_OBLIQUE = 0.99  # cosine of the angle to the nearest anatomical axis below which slices are called oblique
_HIGH, _MODERATE = 32.0, 26.0  # dB on slices that were hidden, across twice the real gap


def duration(seconds: float) -> str:
    """A duration to two digits at most, such as 40 s, 3 min, 1.5 h."""
    if seconds < 99.5:
        return _("{number} s").format(number=max(1, round(seconds)))
    if seconds < 99.5 * 60:
        return _("{number} min").format(number=round(seconds / 60))
    return _("{number} h").format(number=f"{seconds / 3600:.2g}")


def size(number: float) -> str:
    """An amount of memory in GB."""
    return _("{number} GB").format(number=f"{number / 1e9:.1f}")


def translated(text: str) -> str:
    """A sentence of the library in the language of the application; any other text as it is."""
    return _(text.template).format(**text.values) if isinstance(text, Sentence) else text


@contextmanager
def translatedErrors() -> Iterator[None]:
    """Let an InputError of the library speak the language of the application."""
    try:
        yield
    except InputError as error:
        if error.args and isinstance(error.args[0], Sentence):
            raise InputError(translated(error.args[0])) from error
        raise


def withinSlicer(text: str) -> str:
    """A text of the library about devices, with Slicer's way to another torch instead of PyTorch's own."""
    return text.replace("https://pytorch.org/get-started tells how", _(
        "use the module PyTorch Utils, as the guide explains"))


def stage(name: str, number: int, count: int) -> str:
    """What is going on in a reconstruction: its stage `name`, which is number `number` of `count`."""
    sentence = _(STAGES[name].sentence) if name in STAGES else name
    return _("Stage {number} of {count}: {sentence}").format(number=number, count=count, sentence=sentence)


def axisMeaning(grid: Grid, axis: Axis) -> str:
    """Slices along `axis` as a radiologist calls them: plane, number, distance and order; `grid` is in world space."""
    number = AXES.index(axis)
    direction = np.array(grid.direction)[:, number]
    nearest = int(np.abs(direction).argmax())
    planes = (_("sagittal"), _("coronal"), _("axial"))
    ends = ((_("right"), _("left")), (_("anterior"), _("posterior")), (_("inferior"), _("superior")))[nearest]
    first, last = ends if direction[nearest] > 0 else ends[::-1]
    text = _("Axis {axis}: {count} {plane} slices, {spacing} mm apart, from {first} to {last}.")
    if abs(direction[nearest]) < _OBLIQUE:
        text = _("Axis {axis}: {count} {plane} slices (oblique), {spacing} mm apart, from {first} to {last}.")
    return text.format(axis=axis.upper(), count=grid.count(axis), plane=planes[nearest],
                       spacing=f"{grid.spacing[number]:.4g}", first=first, last=last)


def observed(indices: tuple[int, ...], count: int, spacing: float) -> str:
    """Which slices are observed, how many of `count`, and how wide the gaps are; spacing in mm."""
    gap = max(np.diff(indices)) * spacing
    listed = [str(index) for index in indices]
    if len(listed) > 8:
        listed = [*listed[:5], "...", listed[-1]]
    return _("{observed} of {count} slices are used: {listed}. Widest gap: {gap} mm.").format(
        observed=len(indices), count=count, listed=", ".join(listed), gap=f"{gap:.4g}")


def voxels(grid: Grid) -> str:
    """How many voxels of which size."""
    return _("Result: {shape} voxels of {spacing} mm.").format(
        shape=" x ".join(str(count) for count in grid.shape[::-1]),
        spacing=" x ".join(f"{step:.3g}" for step in grid.spacing))


def expectation(found: Estimate, isBound: bool) -> str:
    """How long a reconstruction takes and how much memory; isBound: whether that is an upper bound."""
    text = _("Expected: {time}, {memory} of memory.")
    if isBound:
        text = _("Expected: at most {time}, {memory} of memory.")
    elif not found.is_measured:
        text = _("Expected, as a guess: {time}, {memory} of memory.")
    elif found.gpu_memory_bytes:
        text = _("Expected: {time}, {memory} of memory on the graphics card.")
    return text.format(time=duration(found.seconds), memory=size(found.gpu_memory_bytes or found.memory_bytes))


def quality(psnr: float) -> str:
    """The quality of slices that were hidden, in a word."""
    if psnr >= _HIGH:
        return _("high")
    return _("moderate") if psnr >= _MODERATE else _("low")
