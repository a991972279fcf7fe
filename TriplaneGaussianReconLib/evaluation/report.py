"""What an evaluation found, as data."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..data.geometry import Axis, Grid
from .comparison import Score, SegmentScores
from .methods import Hidden
from .scores import Part, ranking
from .shown import Shown


@dataclass(frozen=True)
class MethodScores:
    """One method's row.

    Attributes:
        name: The method's name.
        is_baseline: Whether it is one of `methods.baselines_for` this case.
        scores: By the names of `scores.METRICS`; those that do not apply are absent.
        segments: How well each segment was filled.
        picture: Its estimate of what the figure shows, normalised; None if it does not fill the image.
        label_picture: The same for labels.
        failure: Why there are no scores.
    """

    name: str
    is_baseline: bool
    scores: dict[str, Score] = field(default_factory=dict)
    segments: tuple[SegmentScores, ...] = ()
    picture: np.ndarray | None = None
    label_picture: np.ndarray | None = None
    failure: str | None = None


@dataclass(frozen=True)
class EvaluationReport:
    """What `evaluate` returns.

    Attributes:
        rows: One per method, in the order asked for.
        grid: The volume's.
        axis: Along which slices were hidden.
        observed: The indices of the slices that the methods were given.
        held_out: The indices that were scored, all between two observed slices.
        shown: What the figure shows.
        hidden: Whether all of the slices in `held_out` was hidden, or their labels alone.
        what: What was kept, for the figure; empty: as `observed` says.
        scope: What the scores are of, for the figure; empty: as `held_out` says.
    """

    rows: tuple[MethodScores, ...]
    grid: Grid
    axis: Axis
    observed: tuple[int, ...]
    held_out: tuple[int, ...]
    shown: Shown
    hidden: Hidden = "slices"
    what: str = ""
    scope: str = ""

    def best(self, part: Part, *, baselines: bool) -> MethodScores | None:
        """The row that ranks highest among the baselines or among the other methods; None if none fills `part`."""
        metric = ranking(part)
        ranks = {row.name: metric.rank(row.scores.get(metric.name)) for row in self.rows}
        candidates = [row for row in self.rows if row.is_baseline == baselines and ranks[row.name] > -np.inf]
        return max(candidates, key=lambda row: ranks[row.name], default=None)
