"""Labels on slices whose image is known and on which none were drawn."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.model_space import ModelSpaceData
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.label_completion.complete import Completed, complete

SHAPE = (13, 20, 22)
FAST = PRESETS["fast"]
pytestmark = pytest.mark.filterwarnings("ignore::TriplaneGaussianReconLib.errors.InputNote")


def layers() -> np.ndarray:
    """[layer, k, j, i]: a cone in one layer, half of it in another."""
    k, j, i = np.indices(SHAPE)
    cone = np.hypot(i - 10, j - 9) < 2.5 + 0.4 * k
    return np.stack([5 * cone, cone & (i > 10)]).astype(np.int16)


def observed(labelled: Any) -> ModelSpaceData:
    grid = Grid(SHAPE)
    image = Image(np.random.default_rng(0).random(SHAPE).astype(np.float32), grid)
    segmentation = Segmentation(layers(), (Segment("cone", 5), Segment("half", 1, 1)), grid)
    observations = Observations.from_volume(image, {"k": Selection.every(13, 1)}, segmentation,
                                            {"k": Selection(tuple(labelled), 13)})
    return ModelSpaceData.of(observations, grid, FAST.model_space, FAST.gap_sampling)


def completed(labelled: Any, tick: Any = lambda *_: None) -> Completed:
    return complete(observed(labelled), FAST, 0, torch.device("cpu"), tick)


@pytest.mark.parametrize("labelled", [(0, 6, 12), (2, 3, 9), (6,)])
def test_all_planes_get_labels_and_those_that_carry_some_keep_them(labelled: tuple[int, ...]) -> None:
    found = completed(labelled)
    assert found.layers.shape == layers().shape and found.layers.dtype == np.int16
    np.testing.assert_array_equal(found.layers[:, list(labelled)], layers()[:, list(labelled)])
    assert set(np.unique(found.layers[0])) <= {0, 5} and found.layers.any(axis=(2, 3)).all()
    assert found.certainty.shape == SHAPE and found.certainty.dtype == np.float32
    assert (found.certainty[list(labelled)] == 1).all() and (found.certainty > 0).all() and found.certainty.max() <= 1
    assert set(found.next_slices) <= set(range(13)) - set(labelled) and found.next_slices
    assert sum(found.methods.values()) == pytest.approx(1.0)
    assert found.hidden_dice is None or 0 <= found.hidden_dice <= 1


def test_labels_between_are_close_to_the_truth() -> None:
    found = completed((0, 4, 8, 12)).layers
    for layer, value in ((0, 5), (1, 1)):
        ours, expected = found[layer] == value, layers()[layer] == value
        assert 2 * (ours & expected).sum() / (ours.sum() + expected.sum()) > 0.93


def test_it_stops_when_asked() -> None:
    def stop(*_: Any) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        completed((0, 6, 12), stop)
