"""A small scan and its segments, from which tests make results in a scene."""
from __future__ import annotations

from typing import Any

import mrml
import numpy as np
import slicer

SHAPE = (9, 14, 16)


def ramp(kind: type = np.int16) -> np.ndarray:
    """A scan (slice, row, column) in which every voxel differs from its neighbours."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return (3 * k + j + i).astype(kind)


def boxes() -> dict[str, np.ndarray]:
    """Two segments on all slices, which overlap."""
    masks = {name: np.zeros(SHAPE, bool) for name in ("liver", "vessel")}
    masks["liver"][:, 3:9, 4:12] = True
    masks["vessel"][:, 6:13, 8:15] = True
    return masks


def sequence_of(frames: list[np.ndarray], masks: list[dict[str, np.ndarray]] | None = None) -> tuple[Any, Any]:
    """A volume node, and a segmentation node if there are masks, in which a browser shows frames."""
    scene = slicer.mrmlScene
    volume = mrml.add_volume(frames[0], name="heart")
    segmentation = mrml.add_segmentation(volume, masks[0], "ventricle") if masks else None
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    for proxy in filter(None, (volume, segmentation)):
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{proxy.GetName()} sequence")
        sequence.SetIndexName("time")
        sequence.SetIndexUnit("ms")
        for number, frame in enumerate(frames):
            if proxy is volume:
                slicer.util.updateVolumeFromArray(proxy, frame)
            else:
                for name, mask in masks[number].items():
                    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), proxy, name, volume)
            sequence.SetDataNodeAtValue(proxy, str(40 * number))
        browser.AddProxyNode(proxy, sequence, False)
    browser.SetPlaybackRateFps(7.0)
    browser.SetSelectedItemNumber(1)
    mrml.remove_display_nodes_without_owner()
    return volume, segmentation
