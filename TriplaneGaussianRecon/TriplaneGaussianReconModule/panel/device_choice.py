"""The choice of a device: what this computer has, by name and memory."""
from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.jobs.estimates import Slowness

from .. import wording
from ..run.process import DeviceList


class DeviceChoice:
    """A combo box of devices, and a line about the one that is chosen."""

    def __init__(self, box: qt.QComboBox, note: qt.QLabel, onChanged: Callable[[str], None], python: str | None = None,
                 environment: Mapping[str, str] | None = None) -> None:
        """Take over the widgets.

        Args:
            box: Shows the devices.
            note: Shows a line about the one that is chosen.
            onChanged: Called with the device that the user chooses: auto, cpu, cuda:0 and so on.
            python: See `process.DeviceList`.
            environment: See `process.DeviceList`.
        """
        self._box, self._note, self._onChanged = box, note, onChanged
        self._devices: list[dict[str, Any]] | None = None
        self._chosen = "auto"
        self._list = DeviceList(self._onFound, python, environment)
        self._fill()
        box.connect("activated(int)", self._onActivated)

    @property
    def device(self) -> dict[str, Any] | None:
        """The device to be used, with `device`, `name`, `memory_bytes` and `note`; None while that is not known."""
        devices = self._devices or []
        return next((each for each in devices if self._chosen in ("auto", each["device"])), None)

    @property
    def slowness(self) -> Slowness:
        """How slow that device is, as it was measured when the devices were looked for."""
        return Slowness(**(self.device or {}).get("slowness", {}))

    def look(self) -> None:
        """List the devices in the background, unless they are known already."""
        if not self._devices:
            self._list.start()

    def show(self, chosen: str) -> None:
        """Show the device that is chosen."""
        self._chosen = chosen
        self._fill()

    def close(self) -> None:
        """Stop looking."""
        self._list.kill()

    def _onFound(self, devices: list[dict[str, Any]]) -> None:
        self._devices = devices
        self._fill()
        self._onChanged(self._chosen)

    def _onActivated(self, row: int) -> None:
        self._onChanged(self._box.itemData(row))

    def _fill(self) -> None:
        choices = [(_("Automatic"), "auto")]
        choices += [(_name(device), device["device"]) for device in self._devices or []]
        if self._chosen not in [device for text, device in choices]:
            choices.append((self._chosen, self._chosen))
        self._box.clear()
        for text, device in choices:
            self._box.addItem(text, device)
        self._box.setCurrentIndex(self._box.findData(self._chosen))
        self._note.setText(self._text())

    def _text(self) -> str:
        """The device to be used; in red where there is none."""
        if self._devices is None:
            return _("Looking for graphics cards...")
        if self.device is None and self._devices:
            return _red(_("This computer has no device {device}. Choose another one.").format(device=self._chosen))
        if self.device is None:
            return _("What there is to compute on will be known once the Python packages are installed.")
        text = _name(self.device)
        if self.device["device"] != "cpu":
            return wording.grey(text)
        return wording.grey(_("Computed on the processor. {reason}").format(
            reason=wording.withinSlicer(self.device["note"]).removeprefix("CPU:").removeprefix("CPU.").strip()))


def _name(device: Mapping[str, Any]) -> str:
    kind = _("CPU") if device["device"] == "cpu" else device["device"]
    return _("{kind}: {name}, {memory}").format(kind=kind, name=device["name"],
                                                memory=wording.size(device["memory_bytes"]))


def _red(text: str) -> str:
    return f'<font color="#d00000">{html.escape(text)}</font>'
