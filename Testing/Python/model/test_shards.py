"""Shards of a model: joined, in memory, on disk, or gone."""
from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from posix_case import POSIX, room_for

from TriplaneGaussianReconLib.errors import InputError, OutputError
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.model.shards import Shard, ShardStore, by_labels, joined


def cloud(count: int, slots: int = 1, depth: float = 0.0) -> GaussianParameters:
    """Gaussians at `depth`, with a support of 3 mm at a cutoff of 9; every other one carries labels."""
    generator = torch.Generator().manual_seed(count)
    centres = torch.rand(count, 3, generator=generator)
    centres[:, 2] = depth
    channels = torch.arange(slots, dtype=torch.int32).repeat(count, 1)
    channels[::2, 1:] = 0
    return GaussianParameters(centres, torch.rand(count, 2, generator=generator),
                              torch.rand(count, 3, generator=generator), torch.zeros(count), torch.zeros(count),
                              torch.rand(count, slots, generator=generator) * ((channels > 0) | (channels[:, :1] == 0)),
                              torch.rand(count, slots, 3, generator=generator), channels)


def assert_same(ours: GaussianParameters, other: GaussianParameters) -> None:
    for name, tensor in ours.tensors().items():
        assert torch.equal(tensor, getattr(other, name)), name


def test_joined_clouds_are_filled_up_with_empty_slots() -> None:
    a, b = cloud(3, 1), cloud(4, 3)
    both = joined([a, b])
    assert both.values.shape == (7, 3) and both.slopes.shape == (7, 3, 3) and both.channels.dtype == torch.int32
    assert not both.values[:3, 1:].any() and not both.slopes[:3, 1:].any() and not both.channels[:3, 1:].any()
    assert_same(both.subset(torch.arange(3, 7)), b)
    assert_same(both.subset(torch.arange(3)).image_only(), a)
    assert joined([a]) is a


def test_unlabelled_gaussians_have_one_slot() -> None:
    plain, rich = by_labels(cloud(9, 3))
    assert (len(plain), plain.values.shape[1], len(rich), rich.values.shape[1]) == (5, 1, 4, 3)
    assert (rich.channels[:, 1:] > 0).any(dim=1).all()
    alone, = by_labels(cloud(4, 1))
    assert_same(alone, cloud(4, 1))


def test_a_shard_knows_its_support() -> None:
    shard = Shard.of(cloud(5, 2, depth=10.0), cutoff=9.0)
    assert (shard.count, shard.slots, shard.lowest, shard.highest, shard.support) == (5, 2, 10.0, 10.0, 3.0)
    assert shard.touches(12.9, 20.0) and shard.touches(0.0, 7.1) and shard.touches(9.0, 9.5)
    assert not shard.touches(13.1, 20.0) and not shard.touches(0.0, 6.9)
    assert shard.size == sum(tensor.nbytes for tensor in shard.load().tensors().values())


def filled(folder: Path, keep: bool = True) -> ShardStore:
    store = ShardStore(9.0, keep=keep, folder=folder)
    for depth in (0.0, 10.0, 20.0):
        store.add(cloud(6, 2, depth))
    return store


def test_shards_go_to_disk_and_come_back(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.evict(13.5)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    shards = store.finish()
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    for shard, depth in zip(shards, (0.0, 10.0, 20.0), strict=True):
        assert_same(shard.load(), cloud(6, 2, depth))
    del store, shards, shard
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_what_never_had_to_leave_memory_stays_there(tmp_path: Path) -> None:
    shards = filled(tmp_path).finish()
    assert not list(tmp_path.iterdir())
    assert_same(shards[2].load(), cloud(6, 2, 20.0))


def test_a_model_that_is_not_kept_is_nowhere(tmp_path: Path) -> None:
    store = filled(tmp_path, keep=False)
    store.evict(5.0)
    assert_same(store.shards[1].load(), cloud(6, 2, 10.0))
    for shard in (store.shards[0], store.finish()[2]):
        with pytest.raises(InputError, match="were not kept.*keep_model=True"):
            shard.load()
    assert not list(tmp_path.iterdir())


def test_closing_leaves_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.evict(100.0)
    store.close()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Nothing can be written to the folder '.*missing': No such file"):
        filled(tmp_path / "missing").evict(100.0)


@POSIX
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    for size in (0, 500, 1000):
        store = filled(tmp_path)
        with room_for(size), pytest.raises(OutputError, match="cannot be put aside.*(os error|large).*do not keep the"):
            store.evict(100.0)
        store.close()
        assert not list(tmp_path.iterdir())
