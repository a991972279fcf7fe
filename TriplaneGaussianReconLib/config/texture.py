"""What decides about the noise that makes filled slices look like observed ones."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Texture = Literal["plain", "even"]  # of a result: as it is expected, or with the noise that filled slices lack

TEXTURES: tuple[Texture, ...] = ("plain", "even")
DEFAULT_TEXTURE: Texture = "plain"


@dataclass(frozen=True)
class TextureConfig:
    """How noise is measured and matched; see `prediction.lacking_noise`.  Frequencies are shares of the highest one.

    Attributes:
        patch: side (pixels) of the squares whose spectra are measured, half of which overlap.
        structure, detail: up to the first frequency all is taken for structure, above the second one for noise.
        noisy: where there is noise its spectrum is at least this share of its maximum; a scan that was enlarged has
            none at the highest frequencies.
        faint: where there is less than this share of the usual noise there is none.
        block: pixels between the places at which the level of the noise is measured, in squares of twice that side.
        near: side (pixels) of the neighbourhood over which roughness is averaged.
        share: of such neighbourhoods are less rough than the one that is taken for all.  Few, since structure is rough,
            too, and is not to be taken for noise.
        plain: share of the squares whose spectra are looked at, those with the least structure.
        peaked: kurtosis of fine detail, 3 for noise, from which much of it is taken for structure.
        still: half the side (pixels) of a square in which all observed pixels have one value where there is no noise.
        intensities: ranges of intensity whose noise is told apart, with equally many pixels in each.
        smoothing: standard deviation (pixels) by which the intensity of a place is smoothed.
        measured: (fewest, most) slices, spread over the stack, on which spectra are measured.
        enough: pixels of so many slices; large ones need fewer.
        shared: neighbouring slices have some noise in common: as many of the result as a slice is thick, but no fewer.
        trials: how often the noise is added and what it does to the spectra is measured, and the noise changed so that
            they match.
        largest_change: of an amplitude in one trial.
    """

    patch: int = 32
    structure: float = 0.125
    detail: float = 0.25
    noisy: float = 0.05
    faint: float = 0.03
    block: int = 16
    near: int = 5
    share: float = 0.2
    plain: float = 0.5
    peaked: float = 4.0
    still: int = 2
    intensities: int = 8
    smoothing: float = 2.0
    measured: tuple[int, int] = (6, 24)
    enough: int = 2 ** 20
    shared: int = 3
    trials: int = 2
    largest_change: float = 2.0

    def spread(self, count: int, pixels: int) -> list[int]:
        """Return the numbers of the slices that are measured, out of `count` of so many `pixels`.

        Example:
            >>> TextureConfig(measured=(2, 3)).spread(9, 100), TextureConfig(measured=(2, 3)).spread(9, 2 ** 20)
            ([0, 4, 8], [0, 8])
        """
        fewest, most = self.measured
        size = min(count, max(fewest, min(most, self.enough // pixels)))
        return sorted({round(n * (count - 1) / max(size - 1, 1)) for n in range(size)})
