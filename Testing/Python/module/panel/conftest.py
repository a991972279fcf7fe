"""The panel with stand-ins for what takes long."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mrml
import pytest
from panel_case import CPU, StandInDeviceList, moving, opened_panel
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.panel import device_choice


@pytest.fixture
def widget(scene: Any, process: StandInWorkerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The panel with a worker and a list of devices that are stand-ins."""
    monkeypatch.setattr(StandInDeviceList, "found", [CPU])
    monkeypatch.setattr(StandInDeviceList, "started", 0)
    monkeypatch.setattr(device_choice, "DeviceList", StandInDeviceList)
    with opened_panel(monkeypatch) as opened:
        yield opened


@pytest.fixture
def volume(widget: Any) -> Any:
    """A volume of 22 x 20 voxels in nine slices, 3 mm apart, chosen."""
    found = mrml.add_volume(moving()[0], name="scan")
    widget.ui.inputVolume.setCurrentNode(found)
    return found


@pytest.fixture
def scan(widget: Any) -> tuple[Any, Any]:
    """A volume and its segmentation, chosen."""
    volume = mrml.add_volume(moving()[0])
    segmentation = mrml.add_segmentation(volume, {"core": moving()[1]})
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    return volume, segmentation
