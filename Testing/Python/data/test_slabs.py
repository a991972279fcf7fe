"""Cutting the gaps into slabs: everything once, nothing too large, as few as possible."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.slabs import HALO, Slab, plan


def cost(slab: Slab, gap_bytes: np.ndarray) -> float:
    return float(gap_bytes[slice(*slab.near)].sum())


def test_one_slab_where_everything_fits() -> None:
    assert plan(np.full(20, 5.0), 100.0) == [Slab(0, 20, 20)]
    assert plan(np.full(20, 5.0), 100.0)[0].is_everything and plan(np.ones(1), 0.5) == [Slab(0, 1, 1)]


@pytest.mark.parametrize("seed", range(8))
def test_cores_hold_every_gap_once_and_fit_with_their_halos(seed: int) -> None:
    generator = np.random.default_rng(seed)
    gap_bytes = generator.uniform(1.0, 3.0, generator.integers(10, 80))
    budget = 3.0 * (2 * HALO + 1) + 10.0
    slabs = plan(gap_bytes, budget)
    assert [gap for slab in slabs for gap in range(slab.first, slab.stop)] == list(range(len(gap_bytes)))
    assert max(cost(slab, gap_bytes) for slab in slabs) <= budget
    fewer = np.linspace(0, len(gap_bytes), len(slabs)).astype(int)  # one slab less, gaps dealt out evenly
    assert any(cost(Slab(a, b, len(gap_bytes)), gap_bytes) > 0.7 * budget
               for a, b in zip(fewer[:-1], fewer[1:], strict=True))


def test_single_gaps_where_nothing_fits() -> None:
    assert plan(np.ones(5), 0.5) == [Slab(n, n + 1, 5) for n in range(5)]


def test_one_costly_gap_does_not_cut_the_others_small() -> None:
    gap_bytes = np.ones(40)
    gap_bytes[20] = 30.0
    slabs = plan(gap_bytes, 45.0)
    assert len(slabs) < 10 and max(cost(slab, gap_bytes) for slab in slabs) <= 45.0


def test_spans_meet_a_little_before_the_slices() -> None:
    offsets = np.array([0.0, 2.0, 3.0, 7.0])
    spans = [Slab(n, n + 1, 3).span(offsets) for n in range(3)]
    assert spans[0][0] == -np.inf and spans[2][1] == np.inf
    assert [low for low, _ in spans[1:]] == [high for _, high in spans[:-1]] == pytest.approx([1.8, 2.9])
    everything = Slab(0, 3, 3)
    assert everything.borders(offsets) == pytest.approx([1.8, 2.9]) and everything.span(offsets) == (-np.inf, np.inf)


def test_halves_are_the_slab() -> None:
    assert Slab(3, 8, 20).halves() == [Slab(3, 5, 20), Slab(5, 8, 20)]
    assert Slab(3, 4, 20).halves() == [Slab(3, 4, 20)]
