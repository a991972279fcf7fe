"""Labels on slices whose image is known and on which none were drawn."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
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
from TriplaneGaussianReconLib.errors import Cancelled, InputError
from TriplaneGaussianReconLib.label_completion.complete import Completed, complete
from TriplaneGaussianReconLib.label_completion.trained import TrainedLabels, scan_of
from TriplaneGaussianReconLib.model.label_network_file import load_label_network, save_label_network

SHAPE = (13, 20, 22)
FAST = PRESETS["fast"]
CONFIG = replace(FAST.label_completion, steps=60)
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


def completed(labelled: Any, tick: Any = lambda *_: None, start: TrainedLabels | None = None,
              probabilities: bool = False, **choices: Any) -> Completed:
    return complete(observed(labelled), replace(CONFIG, **choices), FAST.labels, 0, torch.device("cpu"), tick, start,
                    probabilities)


@pytest.mark.parametrize("labelled", [(0, 6, 12), (2, 3, 9), (6,)])
def test_all_planes_get_labels_and_those_that_carry_some_keep_them(labelled: tuple[int, ...]) -> None:
    found = completed(labelled)
    assert found.layers.shape == layers().shape and found.layers.dtype == np.int16
    np.testing.assert_array_equal(found.layers[:, list(labelled)], layers()[:, list(labelled)])
    assert set(np.unique(found.layers[0])) <= {0, 5} and found.layers.any(axis=(2, 3)).all()
    assert found.certainty.shape == SHAPE and found.certainty.dtype == np.float32
    assert (found.certainty[list(labelled)] == 1).all() and (found.certainty > 0).all() and found.certainty.max() <= 1
    assert set(found.next_slices) <= set(range(13)) - set(labelled) and found.next_slices
    assert found.learnt.methods == {"carried": 0.2, "network": 0.8} and found.learnt.hidden_dice is None


def test_labels_between_are_close_to_the_truth() -> None:
    found = completed((0, 4, 8, 12)).layers
    for layer, value in ((0, 5), (1, 1)):
        ours, expected = found[layer] == value, layers()[layer] == value
        assert 2 * (ours & expected).sum() / (ours.sum() + expected.sum()) > 0.93


def test_probabilities_of_segments_are_those_by_which_labels_are_chosen() -> None:
    """Of the network, and of several methods; each layer holds one segment and its background."""
    for labelled, choices in (((0, 6, 12), {}), ((0, 2, 4, 6, 8, 10, 12), {"judged": 0.5})):
        found = completed(labelled, probabilities=True, steps=12, **choices)
        assert found.percent is not None and found.percent.shape == (2, *SHAPE) and found.percent.dtype == np.uint8
        drawn = list(labelled)
        np.testing.assert_array_equal(found.percent[:, drawn], 100 * (layers()[:, drawn] != 0))
        certain = np.maximum(found.percent, 100 - found.percent.astype(int)).min(axis=0)
        assert np.abs(certain - 100 * found.certainty).max() <= 1
        clear = found.percent != 50
        np.testing.assert_array_equal((found.percent > 50)[clear], (found.layers != 0)[clear])
        assert len(np.unique(found.percent)) > 5


def test_probabilities_change_nothing_else() -> None:
    asked, bare = (completed((0, 6, 12), probabilities=probabilities, steps=6) for probabilities in (True, False))
    np.testing.assert_array_equal(asked.layers, bare.layers)
    np.testing.assert_array_equal(asked.certainty, bare.certainty)
    assert bare.percent is None and asked.next_slices == bare.next_slices


def test_methods_are_weighed_on_slices_that_were_hidden() -> None:
    learnt = completed((0, 2, 4, 6, 8, 10, 12), judged=0.5).learnt
    assert sum(learnt.methods.values()) == pytest.approx(1.0, abs=0.01)
    assert learnt.hidden_dice is not None and learnt.hidden_dice > 0.8


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (completed((0, 4, 8, 12), steps=6) for _ in range(2))
    np.testing.assert_array_equal(first.layers, second.layers)
    np.testing.assert_array_equal(first.certainty, second.certainty)


@pytest.mark.usefixtures("keep_thread_counts")
def test_the_number_of_threads_changes_no_bit() -> None:
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(completed((0, 4, 8, 12), steps=6))
        assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(found[0].layers, found[1].layers)
    np.testing.assert_array_equal(found[0].certainty, found[1].certainty)


def test_a_second_run_starts_from_the_file_of_the_first_and_makes_few_steps(tmp_path: Path) -> None:
    first, steps = completed((0, 6, 12)), set[int]()
    save_label_network(tmp_path / "learnt.safetensors", first.learnt)
    start = load_label_network(tmp_path / "learnt.safetensors")
    assert start.scan == first.learnt.scan and start.methods == first.learnt.methods
    second = completed((0, 3, 6, 12), lambda step, *_: steps.add(step), start)
    assert min(steps) == 54 and second.is_warm and not first.is_warm and not second.notes
    other = TrainedLabels("another scan", start.tensors, start.methods, None)
    with pytest.warns(RuntimeWarning, match="of another image, other segments or another preset"):
        anew = completed((0, 3, 6, 12), lambda step, *_: steps.add(step), other)
    assert min(steps) == 0 and second.layers.any() and not anew.is_warm and "learnt anew" in anew.notes[0]


def test_what_was_learnt_of_another_image_of_the_same_shape_is_told_apart() -> None:
    here, there = observed((0, 6, 12)), observed((0, 6, 12))
    there.slices[3, 4, 5] += 0.1
    assert scan_of(here, CONFIG.network) != scan_of(there, CONFIG.network)


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(file.read_bytes()[:-40]), lambda file: file.unlink(),
                                   lambda file: file.write_bytes(b"not at all")])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, spoil: Any) -> None:
    file = tmp_path / "learnt.safetensors"
    save_label_network(file, TrainedLabels("a scan", {"weight": torch.ones(100)}, {"network": 1.0}, 0.5))
    assert load_label_network(file).hidden_dice == 0.5
    spoil(file)
    with pytest.raises(InputError, match="does not exist|Delete it, or give another name"):
        load_label_network(file)


def test_numbers_of_another_network_are_refused() -> None:
    start = completed((0, 6, 12), steps=2).learnt
    with pytest.raises(InputError, match="is damaged"):
        completed((0, 6, 12), start=TrainedLabels(start.scan, {"weight": torch.ones(3)}, start.methods, None))


def test_it_stops_when_asked() -> None:
    def stop(*_: Any) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        completed((0, 6, 12), stop)
