"""The choice of quality: each with the time that it is expected to take."""
from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.jobs.estimates import Estimate

from .. import wording
from ..run.parameters import PresetChoice


class QualityChoice:
    """A combo box of presets."""

    def __init__(self, box: qt.QComboBox, onChanged: Callable[[PresetChoice], None]) -> None:
        """Take over the widget; onChanged: called with what the user chooses."""
        self._box, self._onChanged, self._texts = box, onChanged, list[str]()
        box.setToolTip(PresetChoice.explained())
        box.connect("activated(int)", self._onActivated)
        self.show(None, {})

    def show(self, chosen: PresetChoice | None, expected: Mapping[PresetChoice, Estimate]) -> None:
        """Show what is chosen, and what to expect of each as far as it is known."""
        texts = [_text(preset, expected.get(preset)) for preset in PresetChoice]
        if len(texts) != len(self._texts):
            for preset, text in zip(PresetChoice, texts, strict=True):
                self._box.addItem(text, preset.value)
        elif texts != self._texts:
            for row, text in enumerate(texts):
                self._box.setItemText(row, text)
        self._texts = texts
        self._box.setCurrentIndex(-1 if chosen is None else self._box.findData(chosen.value))

    def _onActivated(self, row: int) -> None:
        self._onChanged(PresetChoice(self._box.itemData(row)))


def _text(preset: PresetChoice, expected: Estimate | None) -> str:
    if expected is None:
        return preset.label()
    text = _("{quality}: about {time}") if expected.is_measured else _("{quality}: about {time}, as a guess")
    return text.format(quality=preset.label(), time=wording.duration(expected.seconds))
