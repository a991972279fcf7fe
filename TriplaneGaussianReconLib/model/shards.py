"""A model's Gaussians in parts along the depth axis, in memory or out of it."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import pad

from ..errors import InputError, OutputError, cause
from ..gaussians.cloud import GaussianParameters
from ..io.temporary_folders import TemporaryFolder


@dataclass(frozen=True)
class Shard:
    """Some of a model's Gaussians.

    count, slots: N and S of `GaussianParameters`.  lowest, highest: depth of their centres, mm in the model's frame.
    reach: how much farther (mm) they are felt along the depth axis.  load: returns them, from wherever they are.
    """

    count: int
    slots: int
    lowest: float
    highest: float
    reach: float
    load: Callable[[], GaussianParameters]

    @classmethod
    def of(cls, parameters: GaussianParameters, cutoff: float, load: Callable[[], GaussianParameters] | None = None
           ) -> Shard:
        """Describe `parameters`, which are at least one Gaussian; `load` returns them by default."""
        # The squared Mahalanobis distance is at least (depth / standard deviation along the depth axis)^2.
        lowest, highest = (float(bound) for bound in torch.aminmax(parameters.centres[:, 2]))
        reach = cutoff ** 0.5 * float(parameters.log_depths.max().exp())
        count, slots = parameters.values.shape
        return cls(count, slots, lowest, highest, reach, load or (lambda: parameters))

    @property
    def size(self) -> int:
        """Bytes of the parameters."""
        return self.count * (40 + 20 * self.slots)

    def reaches(self, low: float, high: float) -> bool:
        """Whether it may be felt at depths (mm) between `low` and `high`."""
        return self.lowest - self.reach <= high and low <= self.highest + self.reach


def joined(clouds: Sequence[GaussianParameters]) -> GaussianParameters:
    """All Gaussians of `clouds`, in their order; those with fewer slots get empty ones."""
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
    """Gaussians without labels, in one slot, and those with labels, in as many as they need; neither is empty."""
    labelled = (parameters.channels[:, 1:] > 0).any(dim=1)
    plain, rich = parameters.subset(~labelled).image_only(), parameters.subset(labelled)
    used = 1 + int((rich.channels > 0).any(dim=0).sum())
    rich = GaussianParameters(**{
        name: tensor[:, :used].contiguous() if name in ("values", "slopes", "channels") else tensor
        for name, tensor in rich.tensors().items()})
    return [cloud for cloud in (plain, rich) if len(cloud)]


class ShardStore:
    """The parts of a model while it is made: those in use in memory, the others in a folder of their own or nowhere.

    The folder is deleted with the last part that lies in it, or by `close`.
    """

    def __init__(self, cutoff: float, *, keep: bool, folder: Path | None) -> None:
        """keep: what leaves memory goes to a new folder inside `folder` (None: the system's for temporary files);
        otherwise it is gone."""
        self._cutoff, self._keep, self._where = cutoff, keep, folder
        self._folder: TemporaryFolder | None = None
        self._held: list[_Held] = []
        self.parts: tuple[Shard, ...] = ()

    def add(self, parameters: GaussianParameters) -> None:
        """Take up at least one Gaussian."""
        held = _Held(parameters)
        self._held.append(held)
        self.parts += (Shard.of(parameters, self._cutoff, held.load),)

    def retire(self, depth: float) -> None:
        """Let go of the parts that are not felt at `depth` (mm) or beyond.

        Raises OutputError if there is no room for them on disk.
        """
        for part, held in zip(self.parts, self._held, strict=True):
            if held.parameters is not None and part.highest + part.reach < depth:
                self._let_go(held)

    def finish(self) -> tuple[Shard, ...]:
        """Bring the parts to where they stay: the host's memory, unless some have left it already; returns them."""
        for held in self._held:
            if held.parameters is None:
                continue
            if self._keep and self._folder is None:
                held.parameters = held.parameters.to("cpu")
            else:
                self._let_go(held)
        return self.parts

    def close(self) -> None:
        """Forget everything, on disk too."""
        for held in self._held:
            held.parameters = held.path = None
        if self._folder is not None:
            self._folder.close()

    def _let_go(self, held: _Held) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        if self._keep and held.parameters is not None:
            if self._folder is None:
                self._folder = TemporaryFolder(self._where)
            path = self._folder.path / f"{self._held.index(held):05d}.safetensors"
            try:
                save_file({name: tensor.cpu().contiguous() for name, tensor in held.parameters.tensors().items()}, path)
            except (OSError, SafetensorError) as error:
                raise OutputError(f"The model's Gaussians cannot be put aside on disk: {cause(error)}. Free disk "
                                  "space, or do not keep the model.") from error
            held.path, held.folder = path, self._folder
        held.parameters = None


class _Held:
    """Where one part's Gaussians are."""

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
