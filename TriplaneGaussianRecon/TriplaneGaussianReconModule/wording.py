"""Words for what the panel shows: durations, sizes, stages, directions, trust; and the library's words translated."""
from __future__ import annotations

import html
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.config.label_completion import FEWEST_TO_HIDE
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.stages import STAGES
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid
from TriplaneGaussianReconLib.data.label_slices import LabelSlices
from TriplaneGaussianReconLib.data.sentences import Sentence
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.estimates import Estimate
from TriplaneGaussianReconLib.jobs.request import Plan
from TriplaneGaussianReconLib.pipeline.error_report import ErrorReport
from TriplaneGaussianReconLib.pipeline.label_report import LabelCompletion
from TriplaneGaussianReconLib.pipeline.self_check import SelfCheck

_OBLIQUE = 0.99  # cosine of the angle to the nearest anatomical axis below which slices are called oblique
_NOTHING, _LITTLE = 0.05, 0.5  # dB, up to which a gain is none, and hardly seen


def duration(seconds: float) -> str:
    """A duration to two digits at most, such as 40 s, 3 min, 1.5 h."""
    if seconds < 99.5:
        return _("{number} s").format(number=max(1, round(seconds)))
    if seconds < 99.5 * 60:
        return _("{number} min").format(number=round(seconds / 60))
    return _("{number} h").format(number=f"{seconds / 3600:.2g}")


def grey(text: str) -> str:
    """A text that is not important, for a label with marked-up text."""
    return f'<font color="#808080">{html.escape(text)}</font>' if text else ""


def red(text: str) -> str:
    """A text that says what is wrong, likewise."""
    return f'<font color="#d00000">{html.escape(text)}</font>' if text else ""


def size(number: float) -> str:
    """An amount of memory in GB."""
    return _("{number} GB").format(number=f"{number / 1e9:.1f}")


def quality(preset: str) -> str:
    """What the panel calls a preset; those that it does not offer have no other name."""
    return {"fast": _("Fast"), "balanced": _("Better"), "best": _("Best")}.get(preset, preset)


def folder(name: str, areLabelsAlone: bool, preset: str) -> str:
    """What the folder of a run is called that ends now: of what it is, what was done, how well, and when."""
    done = _("{name} filled, {quality}, {time}") if areLabelsAlone else _("{name} reconstructed, {quality}, {time}")
    return done.format(name=name, quality=quality(preset), time=time.strftime("%H:%M:%S"))


def translated(text: str) -> str:
    """A sentence of the library in the language of the application; any other text as it is."""
    if not isinstance(text, Sentence):
        return text
    return _(text.template).format(**{name: translated(value) if isinstance(value, Sentence) else value
                                      for name, value in text.values.items()})


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


def observed(indices: tuple[int, ...], count: int, spacing: float, hasRegion: bool) -> str:
    """Which slices are observed, how many of `count`, and how wide the gaps are; spacing in mm.

    hasRegion: Whether a part is reconstructed alone.
    """
    gap = max(np.diff(indices)) * spacing
    text = _("{observed} of {count} slices are used: {listed}. Widest gap: {gap} mm.")
    if hasRegion:
        text = _("{observed} of {count} slices are used, those in the region and the next ones around it: {listed}. "
                 "Widest gap: {gap} mm.")
    return text.format(
        observed=len(indices), count=count, listed=_listed(indices), gap=f"{gap:.4g}")


def labelSlices(found: LabelSlices) -> str:
    """From which slices labels are taken, and what becomes of the others that are used."""
    if not found.drawn:
        return _("No chosen segment is drawn on a slice that is used and carries labels.")
    text = _("Labels from {count} drawn slices ({listed})") if len(found.drawn) > 1 else _(
        "Labels from {count} drawn slice ({listed})")
    parts = [text.format(count=len(found.drawn), listed=_listed(found.drawn))]
    if found.filled:
        text = _("{count} are filled from the image ({listed})") if len(found.filled) > 1 else _(
            "{count} is filled from the image ({listed})")
        parts.append(text.format(count=len(found.filled), listed=_listed(found.filled)))
    if found.empty:
        text = _("{count} count as empty ({listed})") if len(found.empty) > 1 else _(
            "{count} counts as empty ({listed})")
        parts.append(text.format(count=len(found.empty), listed=_listed(found.empty)))
    return "; ".join(parts) + "."


def purpose(plan: Plan, grid: Grid, isRepair: bool, labels: LabelSlices | None) -> str:
    """What a reconstruction does to a volume, in few words.

    Args:
        plan: Of the reconstruction.
        grid: Of the volume.
        isRepair: Whether slices that are not used are bad ones.
        labels: Where labels are filled, if that is known.
    """
    number, slices, used = AXES.index(plan.axis), plan.slices(plan.axis), set(plan.selections[plan.axis].indices)
    old, new, parts = grid.spacing[number], plan.output.spacing[number], list[str]()
    missing = len(slices) - len(used.intersection(slices))
    if isRepair and not missing:
        return _("Replaces no slice yet.")
    if missing and isRepair:
        text = _("Replaces {missing} of {count} slices.") if labels is None else _(
            "Replaces {missing} of {count} slices, and the segmentation on them.")
        parts.append(text.format(missing=missing, count=len(slices)))
    elif missing:
        parts.append(_("Makes {missing} of {count} slices from the others.").format(missing=missing,
                                                                                   count=len(slices)))
    filled = set() if labels is None else set(labels.filled).intersection(slices)
    if new < 0.999 * old:
        parts.append(_thinner(labels, bool(filled)).format(old=f"{old:.2g}", new=f"{new:.2g}",
                                                           drawn=0 if labels is None else len(labels.drawn)))
    elif new > 1.001 * old:
        parts.append(_("Makes {old} mm slices {new} mm, which is thicker.").format(old=f"{old:.2g}", new=f"{new:.2g}"))
    if labels is not None and filled and new >= 0.999 * old:
        parts.append(_("Fills the segmentation on {filled} slices, from {drawn} that are drawn on.").format(
            filled=len(filled), drawn=len(labels.drawn)))
    if not parts and labels is not None:
        return _("Changes nothing yet: every slice is used, and carries labels. Choose under 'Labels from' from which "
                 "slices they are taken; they are filled on the others.")
    return " ".join(parts) or _("Changes nothing yet: every slice is used, and the result has the voxels of the input.")


def _thinner(labels: LabelSlices | None, areFilled: bool) -> str:
    """That slices become thinner, from `old` to `new`; areFilled: whether labels are filled on slices of the input."""
    if labels is None:
        return _("Makes {old} mm slices {new} mm.")
    if not areFilled:
        return _("Makes {old} mm slices {new} mm, and fills the segmentation on them.")
    return _("Makes {old} mm slices {new} mm, and fills the segmentation on them, from {drawn} slices that are drawn "
             "on.")


def combined(count: int) -> str:
    """What combining volumes does."""
    return _("Makes one volume of {count}, with cubic voxels.").format(count=count)


def completion(told: LabelCompletion, preset: str) -> list[str]:
    """Sentences on labels that were filled: how good they are, for those who read no other; then where, and how.

    preset: The quality with which that was done.
    """
    warm = [_("Started from what the last run learnt.") if told.hidden_dice is None else
            _("Started from what the last run learnt, whose check it is.")] if told.is_warm else []
    names = {"nearest": _("by copying the nearest drawn slice"), "shape": _("by the shape between drawn slices"),
             "carried": _("by following the image from slice to slice"), "network": _("learnt from this scan")}
    methods = [_("{share} % {method}").format(share=round(100.0 * share), method=names.get(name, name))
               for name, share in sorted(told.methods.items(), key=lambda each: -each[1]) if share >= 0.005]
    return [_howGood(told, preset), labelSlices(told.slices), *warm,
            _("How labels were filled: {methods}.").format(methods=", ".join(methods))]


def _howGood(told: LabelCompletion, preset: str) -> str:
    """How well drawn slices came out that had been hidden, or why none was."""
    if told.hidden_dice is not None:
        return _("Filled labels overlap with drawn ones by Dice {dice} (1 is perfect overlap, 0 is none), on drawn "
                 "slices that were hidden to check.").format(dice=f"{told.hidden_dice:.2f}")
    labelled, filled = len(told.slices.drawn) + len(told.slices.empty), len(told.slices.filled)
    text = _("Slices filled: {filled}. How well cannot be said: with this quality no drawn slice is hidden to "
             "check. 'Better' and 'Best' do that where labels come from {fewest} slices or more.")
    if preset not in PRESETS or PRESETS[preset].label_completion.judged:
        text = _("Slices filled: {filled}. How well cannot be said: this started from what a run learnt that hid no "
                 "drawn slice to check. Another seed, under Advanced, starts anew and does.")
        if labelled < FEWEST_TO_HIDE:
            text = _("Slices filled: {filled}. How well cannot be said: to hide one and check, labels must come from "
                     "{fewest} slices or more, and come from {labelled}.")
    return text.format(filled=filled, labelled=labelled, fewest=FEWEST_TO_HIDE)


def voxels(grid: Grid) -> str:
    """How many voxels of which size."""
    return _("Result: {shape} voxels of {spacing} mm.").format(
        shape=" x ".join(str(count) for count in grid.shape[::-1]),
        spacing=" x ".join(f"{step:.3g}" for step in grid.spacing))


def motion(name: str, first: str, grid: Grid, matrix: Sequence[Sequence[float]]) -> str:
    """By how much a volume was moved to fit the first; matrix: rigid, LPS mm, grid: where it lies in the end."""
    rigid = np.array(matrix)
    angle = np.rad2deg(np.arccos(np.clip((np.trace(rigid[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)))
    middle = np.append(grid.index_to_physical((np.array(grid.size) - 1) / 2.0), 1.0)
    shift = np.linalg.norm((middle - np.linalg.inv(rigid) @ middle)[:3])
    return _("'{name}' was turned by {angle} degrees, and its middle moved by {shift} mm, to fit '{first}'.").format(
        name=name, first=first, angle=f"{angle:.1f}", shift=f"{shift:.1f}")


def voxelsAboutAll(side: float | str) -> str:
    """Which voxels a result of several volumes has; side: mm, or a word for as small as the smallest pixel."""
    if isinstance(side, str):
        return _("Result: cubic voxels about all volumes, as small as the smallest pixel.")
    return _("Result: cubic voxels of {side} mm about all volumes.").format(side=f"{side:.3g}")


def expectation(found: Estimate, isBound: bool) -> str:
    """How long a reconstruction takes and how much memory; isBound: whether that is an upper bound."""
    text = _("Will take about {time} on this computer, and {memory} of memory.")
    if isBound:
        text = _("Will take {time} at most on this computer, and {memory} of memory.")
    elif not found.is_measured:
        text = _("May take {time} on this computer, and {memory} of memory; this is a guess.")
    elif found.gpu_memory_bytes:
        text = _("Will take about {time} on this computer, and {memory} of memory on the graphics card.")
    return text.format(time=duration(found.seconds), memory=size(found.gpu_memory_bytes or found.memory_bytes))


def _listed(indices: tuple[int, ...]) -> str:
    """Slice numbers such as 0-7, 9, 10, 12-21; not all if they are many."""
    ends = np.flatnonzero(np.diff(indices) != 1) + 1
    listed = list[str]()
    for run in np.split(np.array(indices), ends):
        listed += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(listed if len(listed) <= 8 else [*listed[:5], "...", listed[-1]])


def image(check: SelfCheck, expected: str) -> list[str]:
    """How far to trust an image that was made between slices.

    The first sentence is for those who read no other: how it compares with linear interpolation.

    Args:
        check: How well slices that were hidden were predicted.
        expected: What is told of the expected error.
    """
    if check.psnr is None:
        return [_("How good the result is cannot be said: to hide a slice and check, at least 3 must be used, and one "
                  "between two others must show something."), expected,
                _("It was not learnt: it is how far simple methods disagree, and errors may be many times as large.")]
    names = {"nearest": _("copies of the nearest slice"), "cubic": _("cubic interpolation"),
             "pchip": _("smooth (monotone cubic) interpolation")}
    lines = [expected]
    if check.doubt:
        lines.append(_("It says little about where the errors are: trust its size, not its pattern."))
    if check.psnr_linear is not None:
        lines.insert(0, _apart(check.psnr - check.psnr_linear, _("linear interpolation between slices")))
    if check.psnr_best_classical is not None and check.best_classical in names:
        lines.append(_apart(check.psnr - check.psnr_best_classical, _("the best usual method, {name}").format(
            name=names[check.best_classical])))
    text = _("Checked on {count} slices, each hidden and predicted across twice the real gap (PSNR {psnr} dB).")
    return [*lines, text.format(count=check.slices, psnr=f"{check.psnr:.1f}")]


def _apart(gain: float, method: str) -> str:
    """How much smaller errors are than with another method; gain: dB."""
    share = 100.0 * abs(10.0 ** (-gain / 20.0) - 1.0)
    if abs(gain) < _NOTHING:
        text = _("No better than with {method}: errors are as large.")
    elif abs(gain) < _LITTLE:
        text = _("Hardly better than with {method}: errors are {share} % smaller ({gain} dB), which is hardly seen."
                 ) if gain > 0 else _(
            "Slightly worse than with {method}: errors are {share} % larger ({gain} dB), which is hardly seen.")
    else:
        text = _("Errors are {share} % smaller than with {method} ({gain} dB).") if gain > 0 else _(
            "Errors are {share} % larger than with {method} ({gain} dB), which serves this scan better.")
    return text.format(method=method, share=round(share), gain=f"{abs(gain):.1f}")


def expectedError(found: ErrorReport) -> str:
    """How large the expected error is, in its unit."""
    amount = found.amount if found.unit else _("{share} % of the range").format(share=found.percent)
    return _("Expected error: {amount} (median in the body).").format(amount=amount)
