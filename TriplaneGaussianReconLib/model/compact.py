"""Gaussians in little room: in steps too small to be seen, as differences of neighbours, compressed.

Gaussians of a layer lie on its pixels and share size and weight, so most of their numbers take few values or grow
evenly.  Each number of `GaussianParameters` is a column over all Gaussians, in the order of its fields.  A column of
few values is a table of these, exactly, and for each Gaussian its place in the table; any other is a multiple of a
step.  Of these whole numbers the differences are stored, signs folded in (0, -1, 1, -2 as 0, 1, 2, 3), all lowest
bytes first, by zlib.
"""
from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..gaussians.cloud import GaussianParameters
from .model_header import gaussian_shapes

_MOST_VALUES = 4096  # of a table
_RAREST = 16  # a column has at least so many times more Gaussians than its table has values
_PRECISION = 2.0 ** -24  # of the numbers themselves
_WIDTH = 4  # bytes of a difference
_ALIGNMENT = 8  # bytes


@dataclass(frozen=True)
class Coded:
    """Gaussians as they stand in a file.

    Attributes:
        columns: (column, 2) int64, for each the length of its table, or 0 for multiples of a step; and bytes of its
            code, 0 where the table has one value.
        tables: float32, the tables one after another; a step is one number.
        codes: uint8, the codes one after another, and zeros up to a multiple of eight.
    """

    columns: np.ndarray
    tables: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, cloud: GaussianParameters) -> Coded:
        """Put at least one Gaussian into little room."""
        coded = [_coded(column, step) for column, step in zip(_columns_of(cloud), _steps(cloud), strict=True)]
        lengths, tables, codes = zip(*coded, strict=True)
        content = b"".join(codes)
        content += bytes(-len(content) % _ALIGNMENT)
        return cls(np.array([lengths, [len(code) for code in codes]], np.int64).T, np.concatenate(tables),
                   np.frombuffer(content, np.uint8))

    def gaussians(self, count: int, slots: int) -> GaussianParameters:
        """Return the Gaussians.

        Args:
            count: N in `GaussianParameters`.
            slots: S in `GaussianParameters`.

        Raises:
            ValueError: the arrays are no Gaussians.
        """
        columns, fields = self._columns(count), {}
        for name, shape in gaussian_shapes("", count, slots).items():
            field = np.empty((count, int(np.prod(shape[1:]))), np.int32 if name == ".channels" else np.float32)
            for number in range(field.shape[1]):
                field[:, number] = next(columns)
            fields[name.removeprefix(".")] = torch.from_numpy(field.reshape(shape))
        return GaussianParameters(**fields)

    def _columns(self, count: int) -> Iterator[np.ndarray]:
        """Yield each column, (count,) float32."""
        sizes = np.c_[np.maximum(self.columns[:, 0], 1), self.columns[:, 1]]
        ends = sizes.cumsum(axis=0)
        if self.columns.min() < 0 or ends[-1, 0] != len(self.tables) or ends[-1, 1] > len(self.codes):
            raise ValueError("columns do not fit")
        for length, start, end in zip(self.columns[:, 0].tolist(), (ends - sizes).tolist(), ends.tolist(),
                                      strict=True):
            table, code = self.tables[start[0]:end[0]], self.codes[start[1]:end[1]].tobytes()
            if length == 1:
                yield np.broadcast_to(table, count)
            elif length:
                yield table[_places(code, count, length)]
            else:
                yield (_unpacked(code, count) * float(table[0])).astype(np.float32)


def _columns_of(cloud: GaussianParameters) -> Iterator[np.ndarray]:
    for tensor in cloud.tensors().values():
        yield from tensor.detach().cpu().numpy().reshape(len(cloud), -1).T


def _steps(cloud: GaussianParameters) -> Iterator[float]:
    """Yield the step of each column: about a thousandth of what it has to change by for that to be seen.

    Centres have finer ones: where Gaussians are blended in their order, this must not change.
    """
    width = float(torch.exp(-cloud.in_plane[:, [0, 2]].median()))  # mm
    depth = float(torch.exp(cloud.log_depths.median()))
    slots = cloud.values.shape[1]
    yield from (min(2.0 ** -10, 2.0 ** -16 * size) for size in (width, width, depth))  # centres
    yield from (2.0 ** -8 * width / depth,) * 2  # tilts
    yield from (2.0 ** -10, 2.0 ** -10 / width, 2.0 ** -10)  # in_plane
    yield from (2.0 ** -10, 2.0 ** -8)  # log_depths, raw_weights
    yield from (2.0 ** -11,) * slots  # values
    yield from tuple(2.0 ** -10 / size for size in (width, width, depth)) * slots  # slopes
    yield from (1.0,) * slots  # channels


def _coded(column: np.ndarray, step: float) -> tuple[int, np.ndarray, bytes]:
    """Length of the table, table or step, and code."""
    values, places = np.unique(column, return_inverse=True)
    if len(values) == 1:
        return 1, values.astype(np.float32), b""
    if len(values) <= min(_MOST_VALUES, len(column) // _RAREST):
        return len(values), values.astype(np.float32), _packed(places)
    exact = np.array([max(step, _PRECISION * float(np.abs(values[[0, -1]]).max()))], np.float32)
    return 0, exact, _packed(np.rint(column / float(exact[0])).astype(np.int64))


def _packed(numbers: np.ndarray) -> bytes:
    """Compress whole numbers of at most 25 bits, of which neighbours are alike."""
    steps = np.diff(numbers.astype(np.int64), prepend=0)
    folded = np.bitwise_xor(2 * steps, steps >> np.int64(63)).astype("<u4")
    return zlib.compress(folded.view(np.uint8).reshape(-1, _WIDTH).T.tobytes())


def _unpacked(code: bytes, count: int) -> np.ndarray:
    """Return (count,) int64; raises ValueError for what `_packed` has not made."""
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(code, _WIDTH * count + 1)
    except zlib.error as error:
        raise ValueError("a code is damaged") from error
    if len(content) != _WIDTH * count or not reader.eof:
        raise ValueError("a code does not fit")
    parts = np.frombuffer(content, np.uint8).reshape(_WIDTH, count)
    folded = np.ascontiguousarray(parts.T).view("<u4")[:, 0].astype(np.int64)
    return np.cumsum(folded >> 1 ^ -(folded & 1))


def _places(code: bytes, count: int, length: int) -> np.ndarray:
    places = _unpacked(code, count)
    if places.min() < 0 or places.max() >= length:
        raise ValueError("a place is outside of its table")
    return places
