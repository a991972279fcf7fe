"""The scores are those of the protocol that quality is measured by: figures agreed on once, on a sample scan."""
from __future__ import annotations

import numpy as np
import pytest
from repository import SAMPLES

from TriplaneGaussianReconLib.evaluation import baselines, metrics
from TriplaneGaussianReconLib.evaluation.scores import image_scores
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation

# ct_spine_lumbar, every 2nd slice along k kept; computed by the protocol's own program.
IMAGE_FIGURES = {  # PSNR and its standard deviation (dB), SSIM and its standard deviation
    "nearest": (24.0364, 2.7619, 0.3583, 0.0451), "linear": (25.5571, 2.5016, 0.4221, 0.0479),
    "cubic": (24.9535, 2.4150, 0.3924, 0.0528), "pchip": (25.4205, 2.4601, 0.4149, 0.0495),
    "flow": (26.2024, 2.3072, 0.4689, 0.0585)}
DICE_FIGURES = {"nearest": 0.8591, "shape": 0.8521}


@pytest.mark.parametrize("name", IMAGE_FIGURES)
def test_images_score_as_agreed(name: str) -> None:
    volume = metrics.normalise(read_image(SAMPLES / "ct_spine_lumbar.nii.gz").array)
    kept, held_out = np.arange(0, len(volume), 2), np.arange(1, len(volume) - 1, 2)
    filled = baselines.IMAGE_METHODS[name](kept, volume[kept], np.arange(len(volume)))
    psnr, ssim = (image_scores(volume[held_out], filled[held_out])[name] for name in ("psnr", "ssim"))
    found = (psnr.value, psnr.sd, ssim.value, ssim.sd)
    assert found == pytest.approx(IMAGE_FIGURES[name], abs=1e-4)


@pytest.mark.parametrize("name", DICE_FIGURES)
def test_labels_score_as_agreed(name: str) -> None:
    labels = read_segmentation(SAMPLES / "ct_spine_lumbar.seg.nrrd").layers[0]
    kept, held_out = np.arange(0, len(labels), 2), np.arange(1, len(labels) - 1, 2)
    filled = baselines.LABEL_METHODS[name](kept, labels[kept], np.arange(len(labels)))
    scores = [metrics.dice_of_enough(labels[held_out] == label, filled[held_out] == label)
              for label in np.unique(labels) if label]
    assert np.nanmean(scores) == pytest.approx(DICE_FIGURES[name], abs=1e-4)
