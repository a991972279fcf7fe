"""What stands below the button."""
from __future__ import annotations

from typing import Any

import mrml
import slicer
from panel_case import choose, click, moving, read, reconstructed, red, type_into, wait_until


def test_what_was_told_goes_with_the_next_choice(widget: Any, volume: Any) -> None:
    message = widget.ui.message
    reconstructed(widget)
    assert message.visible and read(message).startswith("Done in")
    widget.panel.update()
    assert message.visible
    choose(widget.ui.trust, "Every Nth slice")
    assert not message.visible and not message.text


def test_a_problem_goes_with_the_next_choice(widget: Any, volume: Any, process: Any) -> None:
    process.isHeld = True
    click(widget.ui.reconstructButton)
    slicer.mrmlScene.RemoveNode(volume)
    assert red(widget.ui.message.text)
    widget.ui.inputVolume.setCurrentNode(mrml.add_volume(moving()[0], name="next"))
    widget.ui.outputSpacing.value = 2.0
    assert not widget.ui.message.visible


def test_why_the_button_is_grey_stands_below_it(widget: Any) -> None:
    message = widget.ui.message
    assert message.visible and read(message) == widget.ui.reconstructButton.toolTip == "Choose an input volume first."
    widget.ui.inputVolume.setCurrentNode(mrml.add_volume(moving()[0]))
    assert not message.visible
    choose(widget.ui.task, "Replace bad slices")
    assert message.visible and read(message).startswith("Say which slices are bad") and not red(message.text)


def test_what_is_known_stands_there_though_nothing_can_run(widget: Any, volume: Any) -> None:
    ui = widget.ui
    choose(ui.task, "Replace bad slices")
    assert not ui.reconstructButton.enabled
    assert ui.trustPreview.text.startswith("9 of 9 slices") and ui.outputPreview.text.startswith("Result:")
    type_into(ui.excludedSlices, "3")
    ui.region.addNode().SetSize(5.0, 5.0, 0.5)
    wait_until(lambda: not ui.reconstructButton.enabled)
    assert ui.trustPreview.text.startswith("8 of 9 slices") and not ui.outputPreview.visible
