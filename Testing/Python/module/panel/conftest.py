"""The panel with stand-ins for what takes long."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from panel_case import CPU, StandInDeviceList, opened_panel
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
