"""What an evaluation found, as data."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..data.geometry import Axis, Grid
from .comparison import Score, SegmentScores
from .methods import Hidden
from .scores import Part, ranking


@dataclass(frozen=True)
class MethodScores:
    """One method's row.

    Attributes:
        name: The method's name.
        is_baseline: Whether it is one of `methods.baselines_for` this case.
        scores: By the names of `scores.METRICS`; those that do not apply are absent.
        segments: How well each segment was filled.
        samples: Its estimates of the report's samples; None if it does not fill the image.
        label_samples: The same for labels.
        failure: Why there are no scores.
    """

    name: str
    is_baseline: bool
    scores: dict[str, Score] = field(default_factory=dict)
    segments: tuple[SegmentScores, ...] = ()
    samples: np.ndarray | None = None
    label_samples: np.ndarray | None = None
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
        sample_indices: Up to three of these, for the figure; where labels alone were hidden, one far from labels.
        samples: Their truth, [sample, row, column] float32 in [0, 1].
        label_samples: Their true labels, same shape, segment numbers from 1 (0 is background; of overlapping segments
            the last one shows); None without labels.
        colors: (1 + segments, 3) RGB in [0, 1], the colour of each segment number.
        hidden: Whether all of the slices in `held_out` was hidden, or their labels alone.
    """

    rows: tuple[MethodScores, ...]
    grid: Grid
    axis: Axis
    observed: tuple[int, ...]
    held_out: tuple[int, ...]
    sample_indices: tuple[int, ...]
    samples: np.ndarray
    label_samples: np.ndarray | None
    colors: np.ndarray
    hidden: Hidden = "slices"

    def best(self, part: Part, *, baselines: bool) -> MethodScores | None:
        """The row that ranks highest among the baselines or among the other methods; None if none fills `part`."""
        metric = ranking(part)
        ranks = {row.name: metric.rank(row.scores.get(metric.name)) for row in self.rows}
        candidates = [row for row in self.rows if row.is_baseline == baselines and ranks[row.name] > -np.inf]
        return max(candidates, key=lambda row: ranks[row.name], default=None)
