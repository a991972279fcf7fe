"""A model cut into shards."""
from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from TriplaneGaussianReconLib.model.model import Model
from TriplaneGaussianReconLib.model.shards import Shard, by_labels


def in_shards(model: Model, *depths: float) -> Model:
    """The model cut at `depths` (mm), each piece again in two where it has Gaussians without and with labels."""
    parameters = model.parameters
    edges = (-np.inf, *depths, np.inf)
    clouds = [parameters.subset((parameters.centres[:, 2] >= low) & (parameters.centres[:, 2] < high))
              for low, high in pairwise(edges)]
    return replace(model, shards=tuple(Shard.of(some, model.cutoff) for cloud in clouds for some in by_labels(cloud)))
