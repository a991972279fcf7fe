"""Shards: a model's Gaussians in pieces along the depth axis, in memory or out of it."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import pad

from ..errors import InputError, OutputError, cause
from ..gaussians.cloud import GaussianParameters
from ..io.temporary_folders import TemporaryFolder
from ..runtime.memory import parameter_bytes


@dataclass(frozen=True)
class Shard:
    """Some of a model's Gaussians, described so that they need not be in memory.

    Attributes:
        count: Number of Gaussians, N in `GaussianParameters`.
        slots: Slots of each, S in `GaussianParameters`.
        lowest: Smallest depth of their centres, mm in the model's frame.
        highest: Largest depth of their centres, mm.
        support: mm along the depth axis, from a centre to where its Gaussian is cut off, at most.
        load: Returns the Gaussians from wherever they are.
    """

    count: int
    slots: int
    lowest: float
    highest: float
    support: float
    load: Callable[[], GaussianParameters]

    @classmethod
    def of(cls, parameters: GaussianParameters, cutoff: float, load: Callable[[], GaussianParameters] | None = None
           ) -> Shard:
        """Describe at least one Gaussian.

        Args:
            parameters: The Gaussians.
            cutoff: Squared Mahalanobis distance beyond which a Gaussian is 0.
            load: Returns `parameters`; by default they are kept in memory.
        """
        # The squared Mahalanobis distance is at least (depth / standard deviation along the depth axis)^2.
        lowest, highest = (float(bound) for bound in torch.aminmax(parameters.centres[:, 2]))
        support = cutoff ** 0.5 * float(parameters.log_depths.max().exp())
        count, slots = parameters.values.shape
        return cls(count, slots, lowest, highest, support, load or (lambda: parameters))

    @property
    def size(self) -> int:
        """Bytes of the parameters."""
        return parameter_bytes(self.count, self.slots)

    @property
    def end(self) -> float:
        """Depth (mm) at which the support ends."""
        return self.highest + self.support

    def touches(self, low: float, high: float) -> bool:
        """Whether the support reaches into depths (mm) between `low` and `high`."""
        return self.lowest - self.support <= high and low <= self.end


def joined(clouds: Sequence[GaussianParameters]) -> GaussianParameters:
    """Return all Gaussians of `clouds`, in their order; those with fewer slots get empty ones."""
    if len(clouds) == 1:
        return clouds[0]
    slots = max(cloud.values.shape[1] for cloud in clouds)

    def filled(name: str, cloud: GaussianParameters) -> torch.Tensor:
        tensor: torch.Tensor = getattr(cloud, name)
        if name not in ("values", "slopes", "channels"):
            return tensor
        return pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, slots - tensor.shape[1]))

    return GaussianParameters(**{name: torch.cat([filled(name, cloud) for cloud in clouds])
                                 for name in clouds[0].tensors()})


def by_labels(parameters: GaussianParameters) -> list[GaussianParameters]:
    """Split Gaussians into those without labels, in one slot, and those with labels, in as many slots as they need.

    An empty cloud is left out.
    """
    labelled = (parameters.channels[:, 1:] > 0).any(dim=1)
    plain, rich = parameters.subset(~labelled).image_only(), parameters.subset(labelled)
    used = 1 + int((rich.channels > 0).any(dim=0).sum())
    rich = GaussianParameters(**{
        name: tensor[:, :used].contiguous() if name in ("values", "slopes", "channels") else tensor
        for name, tensor in rich.tensors().items()})
    return [cloud for cloud in (plain, rich) if len(cloud)]


class ShardStore:
    """The shards of a model while it is made: in memory, or evicted to a folder of their own, or evicted for good.

    The folder is deleted with the last shard that lies in it, or by `close`.

    Attributes:
        shards: What was added so far.
    """

    def __init__(self, cutoff: float, *, keep: bool, folder: Path | None) -> None:
        """Start without shards.

        Args:
            cutoff: Squared Mahalanobis distance beyond which a Gaussian is 0.
            keep: Whether evicted shards can be loaded again.
            folder: Where the new folder for evicted shards is made; None is the system's for temporary files.
        """
        self._cutoff, self._keep, self._where = cutoff, keep, folder
        self._folder: TemporaryFolder | None = None
        self._places: list[_Place] = []
        self.shards: tuple[Shard, ...] = ()

    def add(self, parameters: GaussianParameters) -> None:
        """Take up at least one Gaussian as a new shard."""
        place = _Place(parameters)
        self._places.append(place)
        self.shards += (Shard.of(parameters, self._cutoff, place.load),)

    def evict(self, depth: float) -> None:
        """Evict the shards whose support ends before `depth` (mm).

        Raises:
            OutputError: If there is no room for them on disk.
        """
        for shard, place in zip(self.shards, self._places, strict=True):
            if place.parameters is not None and shard.end < depth:
                self._evict(place)

    def finish(self) -> tuple[Shard, ...]:
        """Bring the shards to where they stay: the host's memory or, if any was evicted, where that is; return them."""
        for place in self._places:
            if place.parameters is None:
                continue
            if self._keep and self._folder is None:
                place.parameters = place.parameters.to("cpu")
            else:
                self._evict(place)
        return self.shards

    def close(self) -> None:
        """Forget everything, on disk too."""
        for place in self._places:
            place.parameters = place.path = None
        if self._folder is not None:
            self._folder.close()

    def _evict(self, place: _Place) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        if self._keep and place.parameters is not None:
            if self._folder is None:
                self._folder = TemporaryFolder(self._where)
            path = self._folder.path / f"{self._places.index(place):05d}.safetensors"
            tensors = {name: tensor.cpu().contiguous() for name, tensor in place.parameters.tensors().items()}
            try:
                save_file(tensors, path)
            except (OSError, SafetensorError) as error:
                raise OutputError(f"The model's Gaussians cannot be put aside on disk: {cause(error)}. Free disk "
                                  "space, or do not keep the model.") from error
            place.path, place.folder = path, self._folder
        place.parameters = None


class _Place:
    """Where the Gaussians of one shard are."""

    def __init__(self, parameters: GaussianParameters) -> None:
        self.parameters: GaussianParameters | None = parameters
        self.path: Path | None = None
        self.folder: TemporaryFolder | None = None  # lives as long as what refers to it

    def load(self) -> GaussianParameters:
        from safetensors.torch import load_file

        if self.parameters is not None:
            return self.parameters
        if self.path is None:
            raise InputError("This model's Gaussians were not kept. Reconstruct with keep_model=True.")
        return GaussianParameters(**load_file(self.path))
