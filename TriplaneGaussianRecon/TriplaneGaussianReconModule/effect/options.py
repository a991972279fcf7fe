"""The controls of the Segment Editor's effect."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ..installation import dependencies
from ..panel import views
from ..panel.next_slice import NextSlice
from .filling import Filling


class Options:
    """Buttons from the first filling to the last, and a line of text."""

    def __init__(self, effect: Any, filling: Filling | None = None) -> None:
        """effect: The qSlicerSegmentEditorScriptedEffect, in whose frame the controls appear."""
        self._effect = effect
        self.filling = Filling(self.update) if filling is None else filling
        self.fillButton = self._button(_("Fill"), self._fillOrCancel, _(
            "Fill all visible segments between the slices on which they are drawn, guided by the image."))
        self.progressBar = qt.QProgressBar()
        self.message = qt.QLabel()
        self.message.wordWrap = True
        self.message.textFormat = qt.Qt.PlainText
        self.nextButton = self._button("", None, _("Show the slice on which drawing would help most."))
        self.certaintyButton = self._button(_("Show certainty"), self._overlay, _(
            "Lay over the image how certain the labels are: red where they are as likely wrong as right."))
        self.applyButton = self._button(_("Apply"), self._apply, _("Put the preview into the segmentation."))
        self.discardButton = self._button(_("Discard"), self.filling.discard, _("Remove the preview."))
        self._next = NextSlice(self.nextButton, lambda text, isProblem: self.message.setText(text))
        for row in ((self.fillButton, self.progressBar), (self.message,), (self.nextButton, self.certaintyButton),
                    (self.discardButton, self.applyButton)):
            layout = qt.QHBoxLayout()
            for widget in row:
                layout.addWidget(widget)
            effect.addOptionsWidget(layout)
        self.update()

    def update(self) -> None:
        """Show what is possible, and what has come of it."""
        filling, isRunning = self.filling, self.filling.logic.isRunning
        results = filling.results
        self.fillButton.setText(_("Cancel") if isRunning else _("Fill again") if results is not None else _("Fill"))
        self.progressBar.setVisible(isRunning)
        self.progressBar.setValue(round(100.0 * filling.progress))
        self.message.setText(self._text())
        self.message.setVisible(bool(self._text()))
        parameters = self._effect.parameterSetNode()
        axis, slices = filling.nextSlices
        self._next.offer(parameters.GetSourceVolumeNode(), axis, slices if not isRunning else (),
                         parameters.GetSegmentationNode())
        self.certaintyButton.setVisible(results is not None)
        if results is not None:
            self.certaintyButton.setText(_("Hide certainty") if views.isOverlaid(results.certainty) else
                                         _("Show certainty"))
        views.followCertainty()  # which goes with the preview
        for button in (self.applyButton, self.discardButton):
            button.setEnabled(results is not None and not isRunning)

    def close(self) -> None:
        """End what is running."""
        self.filling.close()

    def _text(self) -> str:
        if self.filling.problem:
            return self.filling.problem
        if self.filling.results is not None:
            return _("The preview is shown half transparent. Apply it, or draw one more slice and fill again.")
        return ""

    def _button(self, text: str, clicked: Callable[[], Any] | None, tip: str) -> Any:
        button = qt.QPushButton(text)
        button.setToolTip(tip)
        if clicked is not None:
            button.connect("clicked()", clicked)
        return button

    def _fillOrCancel(self) -> None:
        if self.filling.logic.isRunning:
            self.filling.cancel()
        elif dependencies.ensure():
            parameters = self._effect.parameterSetNode()
            self.filling.start(parameters.GetSourceVolumeNode(), parameters.GetSegmentationNode())

    def _apply(self) -> None:
        self.filling.apply(self._effect)

    def _overlay(self) -> None:
        results = self.filling.results
        if results is not None:
            views.overlay(results.certainty)
        self.update()
