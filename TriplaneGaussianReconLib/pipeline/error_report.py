"""What a report tells of the expected error as a whole, with its unit; to JSON and back."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.beyond import slices_beyond
from ..data.foreground import foreground
from ..data.geometry import Axis, Grid, array_axis
from ..data.observations import Observations
from ..data.units import guessed_unit
from .report_reader import Reader, number, text

if TYPE_CHECKING:
    from .reconstruction import Reconstruction

_SLICES = 24  # that are looked at, spread over the result
_FILLED = 0.25  # of the least distance of slices, of the result or used, from where on one is not a used slice


@dataclass(frozen=True)
class ErrorReport:
    """The median expected absolute error of the body, on slices of the result that lie between the used ones.

    Attributes:
        median: `median`, in `unit`, or in units of the input where that is not known.
        share_of_range: `share_of_range`: the same as a share of the range of the input's intensities.
        unit: `unit`: HU, where the volume is CT for certain; None where the unit is not known.
    """

    median: float
    share_of_range: float
    unit: str | None = None

    @classmethod
    def of(cls, result: Reconstruction, observations: Observations, unit: str) -> ErrorReport | None:
        """Measure it; None where nothing was predicted, no slice lies between used ones, or nothing shows a body.

        Args:
            result: What was reconstructed.
            observations: Of what.
            unit: Of the input; where it is empty, what was seen may tell.
        """
        if not result.report.gaussians:
            return None
        grid = result.volume.grid
        axis, some = _between(observations, grid)
        volume, errors = (np.moveaxis(image.array, array_axis(axis), 0)[some]
                          for image in (result.volume, result.confidence))
        body = foreground(np.nan_to_num(volume, nan=float(np.nanmin(volume)))) if np.isfinite(volume).any() else None
        if body is None or not body.any():
            return None
        median = float(np.median(errors[body]))
        share, unit = median / result.model.intensity.scale, unit or guessed_unit(observations.stacks[0].pixels)
        return cls(float(f"{median:.4g}"), float(f"{share:.4g}"), unit or None)

    def __str__(self) -> str:
        """How large, for users.

        Example:
            >>> str(ErrorReport(123.4, 0.018, "HU")), str(ErrorReport(53.5, 0.018))
            ('120 HU (median in the body)', '1.8 % of the range (median in the body)')
        """
        return f"{self.amount} (median in the body)"

    @property
    def amount(self) -> str:
        """The number with its unit."""
        return f"{_short(self.median)} {self.unit}" if self.unit else f"{self.percent} % of the range"

    @property
    def percent(self) -> str:
        """The share of the range."""
        return _short(100.0 * self.share_of_range)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"median": self.median, "unit": self.unit, "share_of_range": self.share_of_range}

    @classmethod
    def from_json(cls, content: Any) -> ErrorReport:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "expected_error")
        return cls(read("median", number), read("share_of_range", number), read.optional("unit", text, None))


def _short(value: float) -> str:
    """Two digits, without an exponent."""
    return f"{float(f'{value:.2g}'):g}"


def _between(observations: Observations, grid: Grid) -> tuple[Axis, np.ndarray]:
    """The axis along which slices are counted, and some of `grid` between those of the primary stack, if any are."""
    stack = observations.stacks[0]
    axis, beyond = slices_beyond(stack, grid)
    inside = np.flatnonzero(~beyond)
    depths = grid.planes(axis, np.arange(grid.count(axis))).origins @ stack.planes.normal
    away = np.abs(depths[inside, None] - stack.planes.offsets).min(axis=1)
    steps = [np.abs(np.diff(depths)).mean()] if len(depths) > 1 else [1.0]
    filled = inside[away > _FILLED * min(*steps, *np.diff(stack.planes.offsets))]
    if len(inside) and not len(filled) and len(observations.stacks) == 1:
        return axis, filled  # what a used slice shows is no estimate
    chosen = next(each for each in (filled, inside, np.arange(len(depths))) if len(each))
    return axis, chosen[np.unique(np.linspace(0, len(chosen) - 1, _SLICES).round().astype(int))]
