"""Even texture: filled slices with the noise that they lack beside observed ones, so that scrolling does not flicker.

The model, the labels and the expected error are those of the result without it.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..config.texture import TEXTURES, Texture, TextureConfig
from ..data.beyond import at_slices, slices_beyond
from ..data.coinciding import coinciding
from ..data.geometry import Axis, Grid, array_axis
from ..data.observations import Observations
from ..data.voxel_types import value_type
from ..errors import Cancelled, InputError
from ..prediction.lacking_noise import LackingNoise, lacking_noise
from ..rendering.volume import as_type
from ..runtime.threads import serial_opencv
from .reconstruction import Reconstruction, reconstruct
from .texture_report import TextureReport

_NEAR = 1e-3  # of a pixel, by which steps that are meant to be alike may differ


def reconstruct_with(texture: Texture, observations: Observations, output_grid: Grid, *, seed: int = 0,
                     should_stop: Callable[[], bool] | None = None, **how: Any) -> Reconstruction:
    """Reconstruct as `reconstruction.reconstruct` does, with a texture.

    Args:
        texture: Plain, as it is expected; or even: with the noise that filled slices lack.
        observations: The slices to use.
        output_grid: Voxels of the result.
        seed: Of the random numbers, those of the noise included.
        should_stop: Asked often; true stops the reconstruction.
        how: As `reconstruct` has it.

    Raises:
        InputError: There is no such texture, or none on these voxels; and what `reconstruct` raises.
        Cancelled: `should_stop` returned true.
    """
    if texture not in TEXTURES:
        raise InputError(f"Unknown texture '{texture}'. Choose one of {', '.join(TEXTURES)}.")
    if texture == "plain":
        return reconstruct(observations, output_grid, seed=seed, should_stop=should_stop, **how)
    filled = _FilledSlices.of(observations, output_grid)
    exact = observations.dtype if observations.dtype.kind == "f" else value_type(*observations.intensity_range)
    drawn = reconstruct(replace(observations, dtype=exact), output_grid, seed=seed, should_stop=should_stop, **how)
    with serial_opencv():  # the last bits follow its threads
        return _even(drawn, observations, filled, seed, should_stop or (lambda: False))


@dataclass(frozen=True)
class _FilledSlices:
    """The slices of a result that lie between observed ones.

    axis: across which they lie.  numbers: of theirs in the result.  places: of theirs among the observed slices,
    counted from 0.  shared: how many slices of the result have noise in common.
    """

    axis: Axis
    numbers: np.ndarray
    places: np.ndarray
    shared: int

    @classmethod
    def of(cls, observations: Observations, grid: Grid) -> _FilledSlices:
        """Find them; raises InputError where they have other pixels than observed slices."""
        stack, config = observations.stacks[0], TextureConfig()
        axis, observed = coinciding(stack, grid)
        planes = grid.planes(axis, np.arange(grid.count(axis)))
        steps, have = (np.array([each.row_step, each.column_step]) for each in (planes, stack.planes))
        if planes.shape[1:] != stack.planes.shape[1:] or np.abs(steps - have).max() > _NEAR * np.abs(have).max():
            raise InputError(f"An even texture needs slices with the pixels of the used slices, across {axis}. Keep "
                             "the spacing of the input within them, or leave the texture plain.")
        places = np.interp(planes.origins @ stack.planes.normal, stack.planes.offsets, np.arange(len(stack.planes)))
        numbers = np.flatnonzero((observed < 0) & ~slices_beyond(stack, grid)[1])
        offsets = np.sort(planes.offsets)
        distance = float(np.diff(offsets).mean()) if len(offsets) > 1 else math.inf
        return cls(axis, numbers, places[numbers], max(config.shared, round((stack.thickness or 0.0) / distance)))


def _even(result: Reconstruction, observations: Observations, filled: _FilledSlices, seed: int,
          should_stop: Callable[[], bool]) -> Reconstruction:
    """Add the noise to a result that was drawn with fractions, and round it to the type of the input."""
    volume, across = result.volume.array, array_axis(filled.axis)
    even = np.empty(volume.shape, observations.dtype)
    drawn, into = (np.moveaxis(array, across, 0) for array in (volume, even))
    for number, image in enumerate(drawn):
        into[number] = as_type(image, even.dtype)
    scaled = _Scaled(observations)
    noise = _found(scaled, drawn, filled, seed)
    if noise is None:
        told = TextureReport.of(0.0, 0, False)
    else:
        strength = _add(noise, scaled, drawn, into, filled, seed, should_stop)
        told = TextureReport.of(strength, len(filled.numbers), noise.peakedness > TextureConfig().peaked)
    for stack in observations.stacks[1:]:  # observed slices across other axes stay as they were
        axis, planes = coinciding(stack, result.volume.grid)
        at = at_slices(even, axis, planes >= 0)
        even[at] = as_type(volume[at], even.dtype)
    report = replace(result.report, texture=told, notes=(*result.report.notes, told.note))
    return replace(result, volume=replace(result.volume, array=even), report=report)


def _add(noise: LackingNoise, scaled: _Scaled, drawn: np.ndarray, into: np.ndarray, filled: _FilledSlices, seed: int,
         should_stop: Callable[[], bool]) -> float:
    """Write filled slices with their noise; returns its standard deviation where there is any.

    Args:
        noise: What they lack.
        scaled: Between which observed slices.
        drawn: [slice, row, column], all of the result.
        into: Likewise, of the type of the input.
        filled: Which ones.
        seed: Of the noise.
        should_stop: Asked before each slice.
    """
    squares, count = 0.0, 0
    for number, place in zip(filled.numbers.tolist(), filled.places.tolist(), strict=True):
        if should_stop():
            raise Cancelled("Stopped on request; nothing was written.")
        image, is_there = scaled.filled(drawn[number], place)
        added = noise.deviation(image, place) * noise.noise(image.shape, number, seed, filled.shared)
        at = is_there & (added != 0)
        before = drawn[number][at]
        after = np.clip(before + scaled.scale * added[at], scaled.lowest, scaled.highest)
        squares, count = squares + float(((after - before) ** 2).sum()), count + len(after)
        into[number][at] = as_type(after, into.dtype)
    return math.sqrt(squares / max(count, 1))


def _found(scaled: _Scaled, slices: np.ndarray, filled: _FilledSlices, seed: int) -> LackingNoise | None:
    """The noise that the slices of a result lack; slices: all of them, [slice, row, column]."""
    config = TextureConfig()
    some = config.spread(len(filled.numbers), slices[0].size)
    images = [scaled.filled(slices[filled.numbers[n]], filled.places[n])[0] for n in some]
    return lacking_noise(scaled.slices, scaled.has_data, images, filled.places[some].tolist(), seed, config)


class _Scaled:
    """Slices as `lacking_noise` takes them: the range of the observed pixels is 0 to 1.

    Attributes:
        slices: [plane, row, column] the observed ones.
        has_data: bool, likewise.
        lowest, highest: What becomes 0 and 1.
    """

    def __init__(self, observations: Observations) -> None:
        stack = observations.stacks[0]
        self.lowest, self.highest = observations.intensity_range
        self._padding, self.slices = observations.padding, self._scaled(stack.pixels)
        self.has_data = np.ones(stack.pixels.shape, bool) if stack.weights is None else stack.weights > 0

    @property
    def scale(self) -> float:
        """The range."""
        return self.highest - self.lowest

    def filled(self, drawn: np.ndarray, place: float) -> tuple[np.ndarray, np.ndarray]:
        """A slice of the result, with the nearest observed one where it holds no data; and bool, where it does."""
        image, padding = self._scaled(drawn), self._padding
        if padding is None:
            return image, np.ones(image.shape, bool)
        is_there = ~(np.isnan(drawn) if math.isnan(padding) else drawn == padding)
        return np.where(is_there, image, self.slices[round(place)]), is_there

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = ((values - self.lowest) / self.scale).astype(np.float32)
        return scaled
