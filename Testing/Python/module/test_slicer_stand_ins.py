"""The stand-ins are as strict as what they stand in for, so that code which runs on them does not rely on less."""
from __future__ import annotations

import gc
import weakref
from typing import Annotated, Any

import pytest
import slicer
import slicer_stand_ins

slicer_stand_ins.install()

import qt  # noqa: E402
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper  # noqa: E402


@parameterNodeWrapper
class StandInChoices:
    count: Annotated[int, WithinRange(1, 9)] = 3
    names: list[str]
    volume: slicer.vtkMRMLScalarVolumeNode


@pytest.fixture
def node(scene: Any) -> Any:
    return scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


def test_properties_are_attributes() -> None:
    button = qt.QPushButton("text")
    button.enabled, button.name = False, "name"
    assert (button.enabled, button.text, button.name, button.objectName) == (False, "text", "name", "name")
    assert qt.QComboBox().count == 0 and callable(qt.QTimer.singleShot)


@pytest.mark.parametrize(("name", "value"), [("caption", "text"), ("width", 3)])
def test_what_is_no_property_cannot_be_set(name: str, value: Any) -> None:
    with pytest.raises(AttributeError):
        setattr(qt.QPushButton(), name, value)


def test_a_property_that_is_a_slot_too_is_the_slot() -> None:
    timer = qt.QTimer()
    with pytest.raises(AttributeError):
        timer.singleShot = True
    timer.setSingleShot(True)


def test_a_value_of_a_wrong_type_is_not_taken_and_goes_on() -> None:
    button = qt.QPushButton()
    button.enabled = object()
    assert button.enabled
    said, qt.warnings[:] = list(qt.warnings), []
    assert len(said) == 1 and "Property 'enabled' of QPushButton does not take" in said[0]


def test_byte_arrays_are_no_bytes() -> None:
    with pytest.raises(TypeError):
        bytes(qt.QByteArray(b"read"))
    assert qt.QByteArray(b"read").data() == b"read"


def test_signals_are_connected_by_their_signature() -> None:
    button, heard = qt.QPushButton(), list[bool]()

    def hear(checked: bool) -> None:
        heard.append(checked)

    button.connect("clicked(bool)", hear)
    button.click()
    button.disconnect("clicked(bool)", hear)
    button.click()
    assert heard == [False]
    assert not button.disconnect("clicked(bool)", hear) and not qt.warnings
    assert not button.connect("pushed()", print)
    said, qt.warnings[:] = list(qt.warnings), []
    assert said == ["QPushButton has no signal pushed()"]


class StandInOwner:
    """Owns a timer that calls one of its methods."""

    def __init__(self) -> None:
        self.timer = qt.QTimer()
        self.timer.connect("timeout()", self.ring)

    def ring(self) -> None:
        pass


def test_connections_keep_what_they_call() -> None:
    owner = StandInOwner()
    kept, timer = weakref.ref(owner), owner.timer
    del owner
    gc.collect()
    assert kept() is not None
    timer.disconnect("timeout()", kept().ring)
    gc.collect()
    assert kept() is None


def test_connections_end_with_their_sender() -> None:
    button = qt.QPushButton()
    owner = StandInOwner()
    owner.timer.disconnect("timeout()", owner.ring)
    button.connect("clicked()", owner.ring)
    kept = weakref.ref(owner)
    del owner
    gc.collect()
    assert kept() is not None
    del button
    gc.collect()
    assert kept() is None


def test_parameters_are_kept_as_slicer_keeps_them(node: Any) -> None:
    choices = StandInChoices(node)
    choices.names = ["a", "b"]
    choices.names = ["c"]
    assert (node.GetParameter("count"), node.GetParameter("names_len"), node.GetParameter("names_0")) == ("3", "1", "c")
    assert not node.HasParameter("names_1") and StandInChoices(node).names == ["c"]


@pytest.mark.parametrize(("name", "value", "error"), [
    ("count", 10, ValueError), ("count", "3", TypeError), ("names", "c", TypeError), ("volume", "id", TypeError)])
def test_wrong_values_are_refused(node: Any, name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        setattr(StandInChoices(node), name, value)


def test_only_what_was_connected_with_a_tag_can_be_disconnected(node: Any) -> None:
    choices, box = StandInChoices(node), qt.QSpinBox()
    tag = choices.connectParametersToGui({"count": box})
    box.value = 5
    assert choices.count == 5 and (box.minimum, box.maximum) == (1, 9)
    choices.disconnectGui(tag)
    box.value = 7
    assert choices.count == 5
    box.setProperty("SlicerParameterName", "count")
    tag = choices.connectGui(type("", (), {"__init__": lambda self: setattr(self, "box", box)})())
    choices.disconnectGui(tag)
    box.value = 8
    assert tag is None and choices.count == 8


def test_a_widget_of_another_class_is_refused(node: Any) -> None:
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        StandInChoices(node).connectParametersToGui({"count": qt.QDoubleSpinBox()})
