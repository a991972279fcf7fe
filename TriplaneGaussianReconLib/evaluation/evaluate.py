"""Compares ways of filling slices on a volume that is known on all: hide some, or their labels, fill and score them."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..data.geometry import Axis
from ..data.images import Image, Segmentation
from ..data.observations import Observations
from ..data.selection import Selection
from ..errors import InputError
from . import metrics
from .child_process import run_method
from .methods import BaselineLabelMethod, Hidden, Method, baselines_for
from .report import EvaluationReport
from .scale import Scale
from .truth import Truth


def evaluate(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection,
             methods: Sequence[str], further: Mapping[str, Method] | None = None,
             announce: Callable[[str], None] = lambda name: None, hidden: Hidden = "slices") -> EvaluationReport:
    """Score methods on the slices between those that `selection` names.

    A method that fails gives a row that says why; the others go on.  A script that calls this needs the
    `if __name__ == "__main__"` guard that starting processes asks for.

    Args:
        image: All slices known; scored, and given to the methods, as `metrics.normalise` maps it to [0, 1].
        segmentation: On the image's grid, or None if slices are hidden.
        axis: Along which slices are hidden.
        selection: The slices that the methods are given; or, if labels are hidden, those whose labels they are given.
        methods: Names in `methods.baselines_for(hidden)` or in `further`; one row each, in this order.
        further: More methods by name, such as the presets of this library.
        announce: Called with each method's name before it starts.
        hidden: What is hidden of the other slices: all, or their labels alone.

    Raises:
        InputError: A name is unknown, voxels or grids cannot be used, or no slice is hidden between observed ones.
    """
    baselines = baselines_for(hidden)
    known = {**baselines, **(further or {})}
    _check_input(image, segmentation, axis, selection, hidden)
    _check_names(methods, known, segmentation is not None)
    normalised = Image(metrics.normalise(image.array), image.grid)
    truth = Truth(normalised, segmentation, axis, selection, Scale.of(image.array), hidden)
    rows = []
    for name in methods:
        announce(name)
        outcome = run_method(known[name], normalised, segmentation, axis, selection, hidden)
        rows.append(truth.score(name, name in baselines, outcome))
    return EvaluationReport(
        tuple(rows), image.grid, axis, observed=selection.indices, held_out=tuple(truth.held_out.tolist()),
        shown=truth.shown, hidden=hidden)


def _check_input(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection, hidden: Hidden
                 ) -> None:
    if hidden == "labels" and segmentation is None:
        raise InputError("There are no labels to hide. Give a segmentation.")
    Observations.from_volume(image, {axis: selection}, segmentation)  # what every method needs
    if not np.isfinite(image.array).all():
        raise InputError("The volume holds NaN or infinite voxels, so there is no truth to compare with. Replace them.")
    if selection.indices[-1] - selection.indices[0] + 1 == len(selection):
        raise InputError("No slice is hidden between slices that are kept, so there is nothing to score. Keep fewer "
                         "slices (every 2nd, say) or hide some (every 5th), or take a volume with more of them.")


def _check_names(methods: Sequence[str], known: Mapping[str, Method], labels: bool) -> None:
    unknown = [name for name in methods if name not in known]
    if unknown:
        raise InputError(f"Unknown method '{unknown[0]}'. Choose from {', '.join(known)}.")
    idle = [name for name in methods if isinstance(known[name], BaselineLabelMethod) and not labels]
    if idle:
        raise InputError(f"Method '{idle[0]}' fills labels only. Give a segmentation, or leave it out.")
