"""Displacements between any two slices, found in the background."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.registration.displacements import displacements
from TriplaneGaussianReconLib.registration.optical_flow import correspond

FLOW = PRESETS["fast"].flow


def test_they_are_those_of_the_two_slices(textured: Callable[..., np.ndarray]) -> None:
    """Whether asked for before or not, in the order in which they are taken."""
    slices = textured((6, 30, 34), (1.5, -1.0))
    with displacements(slices, FLOW) as found:
        found.ask([0, 2], 2)
        for first, each in zip([2, 1, 0], found.take([2, 1, 0], 2), strict=True):
            expected = correspond(slices[[first, first + 2]], FLOW)
            assert each.displacement.tobytes() == expected.displacement.tobytes()
            assert each.confidence.tobytes() == expected.confidence.tobytes()
        assert not found.known  # what was taken is forgotten


def test_what_is_not_taken_is_given_up(textured: Callable[..., np.ndarray]) -> None:
    """Also after an error: nothing goes on in the background."""
    slices = textured((40, 64, 64), (1.5, -1.0))
    with pytest.raises(KeyboardInterrupt), displacements(slices, FLOW) as found:
        found.ask(range(39), 1)
        raise KeyboardInterrupt
    assert all(each.done() for each in found.known.values())
