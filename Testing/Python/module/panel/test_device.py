"""What the panel says of graphics cards."""
from __future__ import annotations

import re
from typing import Any

import pytest
from computer_stand_ins import StandInComputer, StandInDriver
from panel_case import CPU, StandInDeviceList, add_scan, choose, grey, opened_panel, read, red
from TriplaneGaussianReconModule.run.parameters import keywords

from TriplaneGaussianReconLib.runtime import devices

GPU = {"device": "cuda:0", "name": "NVIDIA H200", "memory_bytes": 151e9, "note": "NVIDIA H200, 151.0 GB."}


def test_the_cpu_alarms_nobody_and_says_why(widget: Any) -> None:
    assert grey(widget.ui.deviceNote.text)
    assert read(widget.ui.deviceNote) == "Computed on the processor. There is no GPU."
    assert [widget.ui.device.itemText(n) for n in range(2)] == ["Automatic", "CPU: Xeon, 8.0 GB"]


@pytest.mark.parametrize("computer", [
    StandInComputer("13.0", StandInDriver(12040)), StandInComputer(None, StandInDriver(14010)),
    StandInComputer(failure=RuntimeError("no kernel image is available"))])
def test_another_torch_is_got_in_the_way_of_slicer(widget: Any, monkeypatch: pytest.MonkeyPatch,
                                                   computer: StandInComputer) -> None:
    StandInDeviceList.found = [{**CPU, "note": devices.choose("auto", computer).note}]
    with opened_panel(monkeypatch) as opened:
        assert "module PyTorch Utils" in opened.ui.deviceNote.text and "pytorch.org" not in opened.ui.deviceNote.text


def test_a_gpu_is_named_with_its_memory(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    StandInDeviceList.found = [GPU, {**CPU, "note": "CPU."}]
    with opened_panel(monkeypatch) as opened:
        assert read(opened.ui.deviceNote) == "cuda:0: NVIDIA H200, 151.0 GB"
        add_scan(opened)
        assert re.fullmatch(r"Will take about \d+ s on this computer, and [\d.]+ GB of memory on the graphics card\.",
                            read(opened.ui.estimate))
        choose(opened.ui.device, "CPU: Xeon, 8.0 GB")
        assert "processor" in opened.ui.deviceNote.text
        assert keywords(opened.logic.getParameterNode())["device"] == "cpu"


def test_a_device_of_another_computer_is_pointed_out(widget: Any) -> None:
    widget.logic.getParameterNode().device = "cuda:3"
    assert widget.ui.device.currentText == "cuda:3"
    assert "This computer has no device cuda:3" in widget.ui.deviceNote.text and red(widget.ui.deviceNote.text)


def test_devices_are_looked_for_until_some_are_known(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    StandInDeviceList.found, StandInDeviceList.started = [], 0
    with opened_panel(monkeypatch) as opened:
        assert "once the Python packages are installed" in opened.ui.deviceNote.text
        StandInDeviceList.found = [CPU]
        opened.enter()
        opened.enter()
    assert StandInDeviceList.started == 2
