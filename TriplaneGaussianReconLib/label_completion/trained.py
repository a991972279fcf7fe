"""A trained network for labels, kept so that the next run on the same scan starts where this one ended."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from ..config.label_completion import CompletionNetworkConfig
from ..data.model_space import ModelSpaceData
from ..errors import InputError
from .network import CompletionNetwork


@dataclass(frozen=True)
class TrainedLabels:
    """What a run learnt about the labels of a scan.

    Attributes:
        scan: what the network is for, see `scan_of`: it is of use for nothing else.
        tensors: its numbers, on the CPU.
        methods: share of each method, see `arbitration.weights_of`.
        hidden_dice: mean Dice of slices that were hidden and filled; None where nothing could be hidden.
    """

    scan: str
    tensors: Mapping[str, Tensor]
    methods: Mapping[str, float]
    hidden_dice: float | None

    @classmethod
    def of(cls, network: CompletionNetwork, scan: str, methods: Mapping[str, float], hidden_dice: float | None
           ) -> TrainedLabels:
        """Take the numbers of a network."""
        tensors = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                   for name, tensor in network.state_dict().items()}
        return cls(scan, tensors, dict(methods), hidden_dice)

    def put_into(self, network: CompletionNetwork) -> None:
        """Give a network these numbers; raises InputError if they are not those of such a network."""
        wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
        if {name: tensor.shape for name, tensor in self.tensors.items()} != wanted:
            raise InputError("What was learnt about the labels is damaged. Delete its file, or give another name.")
        network.load_state_dict(dict(self.tensors))


def scan_of(observed: ModelSpaceData, config: CompletionNetworkConfig) -> str:
    """Say which image, segments and kind of network belong together."""
    planes, pixels = observed.planes, blake2b(np.ascontiguousarray(observed.slices).data, digest_size=16).hexdigest()
    return (f"{planes.shape} {planes.offsets[-1] - planes.offsets[0]:.4g} mm {observed.pixel:.4g} mm {pixels} "
            f"{[(segment.layer, segment.value) for segment in observed.segments]} {config}")
