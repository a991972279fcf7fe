"""Which networks slices can train, by how they lie."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.config.prediction import FusionConfig
from TriplaneGaussianReconLib.config.registration import FlowConfig
from TriplaneGaussianReconLib.data.trainable import trains_fusion

CONFIG = FusionConfig(width=6, blocks=1, steps=8, batch=3, rate=1e-3)
THIN = {"rows": 64, "columns": 70, "pitches": (0.8, 0.9), "positions": np.arange(13) * 3.2, "planes_per_gap": 3,
        "thickness": 0.8}


@pytest.mark.parametrize("change", [{}, {"planes_per_gap": 1}, {"planes_per_gap": 6}, {"thickness": 1.2},
                                    {"rows": 24, "columns": 24}])
def test_fusion_is_learnt_where_the_dense_estimate_is_nearly_isotropic(change: dict[str, object]) -> None:
    assert trains_fusion(**{**THIN, **change}, config=CONFIG, flow=FlowConfig())  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [
    pytest.param({"thickness": 3.2}, id="thick slices"),
    pytest.param({"positions": np.arange(12) * 8.0}, id="planes too far apart"),
    pytest.param({"planes_per_gap": 8}, id="planes too close"),
    pytest.param({"planes_per_gap": 0}, id="no planes between"),
    pytest.param({"pitches": (0.8, 0.3), "thickness": 0.4}, id="pixels that are no squares"),
    pytest.param({"positions": np.arange(12) * 3.2 + 0.5 * (np.arange(12) == 6)}, id="uneven gaps"),
    pytest.param({"positions": np.arange(3) * 3.2}, id="few slices"),
    pytest.param({"positions": np.arange(6) * 3.2}, id="few planes"),
    pytest.param({"rows": 20}, id="few rows"),
    pytest.param({"columns": 20}, id="few columns"),
    pytest.param({"positions": np.arange(12) * 32.0, "planes_per_gap": 39}, id="gaps wider than the slices")])
def test_fusion_is_not_learnt_where_virtual_stacks_would_mislead(change: dict[str, object]) -> None:
    assert not trains_fusion(**{**THIN, **change}, config=CONFIG, flow=FlowConfig())  # type: ignore[arg-type]
