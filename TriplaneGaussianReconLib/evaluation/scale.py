"""How intensities are shown to people: a window, and a unit for differences."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.units import HOUNSFIELD

_AIR, _DENSE = -400.0, 100.0  # a CT reaches from below the one to above the other, in whole numbers
_LOWEST_HU, _HIGHEST_HU = -10000.0, 32767.0
_BLACK, _WHITE = 0.5, 99.5  # percentiles of the foreground
_MOSTLY, _SOME = 1.5, 0.07  # of the tissue that is seen: so much lung, or bone
_FOREGROUND = 0.1  # of the range: what is brighter is foreground


@dataclass(frozen=True)
class Scale:
    """How intensities are shown.

    Attributes:
        low, high: what is 0 and 1 in normalised intensities, units of the volume.
        black, white: what is shown as these, likewise.
        window: which window that is, for people.
        is_hounsfield: whether the volume is a CT.
    """

    low: float
    high: float
    black: float
    white: float
    window: str
    is_hounsfield: bool

    @classmethod
    def of(cls, volume: np.ndarray) -> Scale:
        """Choose for a whole volume, in its own units; see `metrics.normalise` for the range."""
        low, high = float(volume.min()), float(np.percentile(volume, 99.9))
        scale = cls(low, max(high, low + 1e-12), low, high, "", is_hounsfield(volume))
        return scale.looking_at(scale.normalised(volume[tuple(slice(None, None, 2) for _ in volume.shape)]))

    def looking_at(self, picture: np.ndarray) -> Scale:
        """Choose the window for what is looked at; picture: of any shape, normalised."""
        values = self.low + np.asarray(picture, np.float32) * (self.high - self.low)
        if self.is_hounsfield:
            name, centre, width = _ct_window(values)
            black, white = centre - width / 2, centre + width / 2
            name = f"Window: {name}, centre {centre:g} HU, width {width:g} HU"
        else:
            bright = values[values > self.low + _FOREGROUND * (self.high - self.low)]
            white = float(np.percentile(bright, _WHITE)) if bright.size else self.high
            black, name = float(np.percentile(values, _BLACK)), "Window: black to white is the range of what is shown"
        return Scale(self.low, self.high, black, max(white, black + 1e-12), name, self.is_hounsfield)

    def normalised(self, values: np.ndarray) -> np.ndarray:
        """Return values of the volume as 0 to 1, see `metrics.normalise`; float32."""
        return ((np.asarray(values, np.float32) - self.low) / (self.high - self.low)).clip(0.0, 1.0)

    def shown(self, picture: np.ndarray) -> np.ndarray:
        """Return normalised intensities as black (0) to white (1)."""
        values = self.low + picture * (self.high - self.low)
        return np.clip((values - self.black) / (self.white - self.black), 0.0, 1.0)

    @property
    def unit(self) -> str:
        """Of differences."""
        return HOUNSFIELD if self.is_hounsfield else "% of the range"

    @property
    def step(self) -> float:
        """How many units a difference of 1 in normalised intensities is."""
        return self.high - self.low if self.is_hounsfield else 100.0


def is_hounsfield(volume: np.ndarray) -> bool:
    """Tell whether a volume is a CT: whole numbers from air to something denser than water.

    Example:
        >>> is_hounsfield(np.array([-1000, 40, 300])), is_hounsfield(np.array([0, 40, 300]))
        (True, False)
    """
    low, high = float(volume.min()), float(volume.max())
    if not (_LOWEST_HU <= low < _AIR and _DENSE < high <= _HIGHEST_HU):
        return False
    return bool(np.issubdtype(volume.dtype, np.integer) or (volume == np.rint(volume)).all())


def _ct_window(values: np.ndarray) -> tuple[str, float, float]:
    """Name, centre and width (HU) of the usual window for what is mostly seen."""
    lung, tissue, bone, dense = (np.count_nonzero((values > low) & (values <= high)) for low, high in
                                 ((-950, -500), (-150, 5000), (200, 5000), (500, 5000)))
    if lung > _MOSTLY * tissue:
        return "lung", -600.0, 1500.0
    if dense > _SOME * tissue:
        return "bone", 400.0, 1800.0
    return ("soft tissue and bone", 150.0, 700.0) if bone > _SOME * tissue else ("soft tissue", 40.0, 400.0)
