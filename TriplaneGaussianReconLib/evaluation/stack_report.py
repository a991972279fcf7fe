"""What an evaluation of several stacks found, as data."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .comparison import Score
from .report import EvaluationReport, MethodScores
from .shown import Shown

_LEAST_SQUARED_ERROR = 1e-10  # of the range, which bounds the PSNR at 100 dB


@dataclass(frozen=True)
class Likeness:
    """How like the truth an estimate is.

    Attributes:
        psnr: dB, over all pixels together.
        ncc: normalised cross-correlation, likewise; NaN where either has one value alone.
    """

    psnr: float
    ncc: float

    @classmethod
    def of(cls, estimate: np.ndarray, truth: np.ndarray, extent: tuple[float, float]) -> Likeness:
        """Compare pixels of any shape; extent: smallest and largest value, between which the estimate is clipped.

        Example:
            >>> truth = np.array([0.0, 1.0, 2.0, 10.0])
            >>> Likeness.of(truth + 1.0, truth, (-20.0, 20.0))
            Likeness(psnr=32.04, ncc=1.0)
        """
        low, high = extent
        truth, estimate = truth.astype(np.float64).ravel(), estimate.astype(np.float64).ravel()
        squared = np.mean((estimate.clip(low, high) - truth) ** 2) / max(high - low, 1e-30) ** 2
        a, b = truth - truth.mean(), estimate - estimate.mean()
        spread = float(np.sqrt((a @ a) * (b @ b)))
        return cls(round(float(-10.0 * np.log10(max(squared, _LEAST_SQUARED_ERROR))), 2),
                   round(float(a @ b) / spread, 4) if spread > 0 else np.nan)


@dataclass(frozen=True)
class StackRow:
    """One method's row.

    Attributes:
        name: of the method.
        is_baseline: whether it is none of this library's.
        likenesses: to the truth, or to the hidden slices of each volume.
        seconds: that it took.
        picture: [row, column], its estimate of what the figure shows, normalised; None without.
        share: of the way from the first stack to what could be had; None where that is not known.
        failure: why there are no scores.
    """

    name: str
    is_baseline: bool
    likenesses: tuple[Likeness, ...] = ()
    seconds: float = 0.0
    picture: np.ndarray | None = None
    share: float | None = None
    failure: str | None = None

    @property
    def ncc(self) -> float:
        """The mean over the volumes."""
        return float(np.mean([each.ncc for each in self.likenesses]))

    @property
    def psnr(self) -> float:
        """The mean over the volumes, dB."""
        return float(np.mean([each.psnr for each in self.likenesses]))


@dataclass(frozen=True)
class StackEvaluation:
    """What an evaluation of several stacks found.

    Attributes:
        rows: one per method.
        volumes: names of what is compared with; one where that is a dense volume.
        shown: what the figure shows.
        what: was compared, in words.
        scope: what scores are of, in words.
        remarks: what is to be said, one string a line.
        setting: how it was done, as JSON has it.
    """

    rows: tuple[StackRow, ...]
    volumes: tuple[str, ...]
    shown: Shown
    what: str
    scope: str
    remarks: tuple[str, ...] = ()
    setting: dict[str, object] = field(default_factory=dict)

    def pictured(self) -> EvaluationReport:
        """Return what `figure.figure` draws."""
        rows = tuple(MethodScores(row.name, row.is_baseline, {"psnr": Score(row.psnr)}, picture=row.picture)
                     for row in self.rows if row.picture is not None)
        view = self.shown.view
        return EvaluationReport(rows, view.grid, view.axis, (), (), self.shown, what=self.what, scope=self.scope)
