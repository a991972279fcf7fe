"""Stand-in for `slicer.parameterNodeWrapper`, for the types and widgets that the panel uses.

Looked up in Slicer, Base/Python/slicer/parameterNodeWrapper: wrapper.py, serializers.py, guiConnectors.py and
validators.py.  As there:
- a value is read again whenever the parameter node is modified, and is kept in between, also if a node that it is has
  been deleted meanwhile;
- a list is kept as `name_len`, `name_0` and so on, where nodes may be None; an enumeration by the name of its member;
- `connectGui` does not tell its tag, so what it connected stays connected; `connectParametersToGui` does;
- a widget must be of exactly the class that a parameter's type asks for.
"""
from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import qt
import slicer
import vtk

__all__ = ["SlicerParameterNamePropertyName", "WithinRange", "parameterNodeWrapper"]

SlicerParameterNamePropertyName = "SlicerParameterName"


@dataclass(frozen=True)
class WithinRange:
    """Lets values from `minimum` to `maximum` pass, both included; raises ValueError for others."""

    minimum: float
    maximum: float

    def validate(self, value: float) -> None:
        """Raise ValueError unless the value lies within."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class _Parameter:
    """How a value of one type is kept in a vtkMRMLScriptedModuleNode."""

    def __init__(self, name: str, annotated: Any, default: Any) -> None:
        self.name = name
        self.type, *annotations = typing.get_args(annotated) if hasattr(annotated, "__metadata__") else (annotated,)
        self.ranges = [found for found in annotations if isinstance(found, WithinRange)]
        self.is_list = typing.get_origin(self.type) is list
        self.is_node = not self.is_list and issubclass(self.type, slicer.vtkMRMLNode)
        self.holds_nodes = self.is_list and issubclass(typing.get_args(self.type)[0], slicer.vtkMRMLNode)
        self.default = default if default is not None or self.is_node else self.type()

    def is_in(self, node: Any) -> bool:
        return node.HasParameter(f"{self.name}_len" if self.is_list else self.name)

    def read(self, node: Any) -> Any:
        if not self.is_in(node):
            self.write(node, self.default)
        if self.is_node:
            return node.GetNodeReference(self.name)
        if self.is_list:
            get = node.GetNodeReference if self.holds_nodes else node.GetParameter
            return [get(f"{self.name}_{n}") for n in range(int(node.GetParameter(f"{self.name}_len")))]
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, Enum) else self.type(text)

    def write(self, node: Any, value: Any) -> None:
        self._check(value)
        with slicer.util.NodeModify(node):
            if self.is_node:
                node.SetParameter(self.name, "")
                node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
            elif self.is_list:
                self._write_list(node, list(value))
            else:
                node.SetParameter(self.name, value.name if isinstance(value, Enum) else str(value))

    def _write_list(self, node: Any, values: list[Any]) -> None:
        old = int(node.GetParameter(f"{self.name}_len")) if self.is_in(node) else 0
        for number, value in enumerate(values):
            node.SetParameter(f"{self.name}_{number}", "" if self.holds_nodes else value)
            if self.holds_nodes:
                node.SetNodeReferenceID(f"{self.name}_{number}", value and value.GetID())
        node.SetParameter(f"{self.name}_len", str(len(values)))
        for number in range(len(values), old):
            node.UnsetParameter(f"{self.name}_{number}")
            if self.holds_nodes:
                node.RemoveNodeReferenceIDs(f"{self.name}_{number}")

    def _check(self, value: Any) -> None:
        wanted = list if self.is_list else (int, float) if self.type is float else self.type
        if not isinstance(value, wanted) and not (self.is_node and value is None):
            raise TypeError(f"Value must be of type '{wanted}', is type '{type(value)}' value '{value}'")
        for limits in self.ranges:
            limits.validate(value)


class _Connector:
    """A parameter and the widget that shows it."""

    def __init__(self, parameter: _Parameter, widget: Any) -> None:
        self.widget, self._callback = widget, None
        kinds = [kind for kind in _KINDS if kind.fits(parameter.type) and type(widget) is kind.widget()]
        if not kinds:
            raise RuntimeError(f"Unable to create GUI connector from datatype '{parameter.type}' to widget type "
                               f"'{type(widget)}'")
        self._kind, self._type = kinds[0], parameter.type
        if issubclass(self._type, Enum):
            widget.clear()
            for member in self._type:
                widget.addItem(member.label() if hasattr(member, "label") else member.name)
        if self._type in (int, float):
            limits = parameter.ranges[0] if parameter.ranges else WithinRange(-2 ** 31, 2 ** 31 - 1)
            widget.setRange(limits.minimum, limits.maximum)
        if parameter.is_node:
            widget.nodeTypes = [self._type.__name__]

    def on_changed(self, callback: Callable[[], None] | None) -> None:
        signal = getattr(self.widget, self._kind.signal)
        if callback is None:
            signal.disconnect(self._changed)
        else:
            signal.connect(self._changed)
        self._callback = callback

    def _changed(self, *_: Any) -> None:
        if self._callback:
            self._callback()

    def read(self) -> Any:
        if issubclass(self._type, Enum):
            return list(self._type)[self.widget.currentIndex]
        return self._kind.read(self.widget)

    def write(self, value: Any) -> None:
        self._kind.write(self.widget, list(self._type).index(value) if isinstance(value, Enum) else value)


@dataclass(frozen=True)
class _Kind:
    """Which widget shows which type, and how it is read and written."""

    fits: Callable[[type], bool]
    widget: Callable[[], type]
    signal: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], None]


def _by_property(types: type, widget: str, signal: str, name: str) -> _Kind:
    return _Kind(lambda given: given is types or types is Enum and issubclass(given, Enum), lambda: getattr(qt, widget),
                 signal, lambda shown: getattr(shown, name), lambda shown, value: setattr(shown, name, value))


_KINDS = (
    _by_property(bool, "QCheckBox", "stateChanged", "checked"),
    _by_property(int, "QSpinBox", "valueChanged", "value"),
    _by_property(float, "QDoubleSpinBox", "valueChanged", "value"),
    _by_property(str, "QLineEdit", "textChanged", "text"),
    _by_property(Enum, "QComboBox", "currentIndexChanged", "currentIndex"),
    _Kind(lambda given: issubclass(given, slicer.vtkMRMLNode), lambda: slicer.qMRMLNodeComboBox, "currentNodeChanged",
          lambda shown: shown.currentNode(), lambda shown, value: shown.setCurrentNode(value)),
)


class _Wrapper:
    """What a decorated class gets: typed access to a parameter node, and connections to widgets."""

    allParameters: dict[str, _Parameter]

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._connected: dict[int, dict[str, _Connector]] = {}
        self._tags, self._updating = iter(range(10 ** 6)), False
        with slicer.util.NodeModify(parameterNode):
            for parameter in self.allParameters.values():
                if not parameter.is_in(parameterNode):
                    parameter.write(parameterNode, parameter.default)
        self._values: dict[str, Any] = {}
        for name in self.allParameters:  # an observer for each, since VTK calls the first of all observers last
            self._read(name)
            parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event, name=name: self._read(name))

    def _read(self, name: str) -> None:
        self._values[name] = self.allParameters[name].read(self.parameterNode)

    def getValue(self, name: str) -> Any:
        return self._values[name]

    def setValue(self, name: str, value: Any) -> None:
        with slicer.util.NodeModify(self.parameterNode):
            self.allParameters[name].write(self.parameterNode, value)
            self._values[name] = self.allParameters[name].read(self.parameterNode)

    def connectGui(self, gui: Any) -> None:
        self.connectParametersToGui({widget.property(SlicerParameterNamePropertyName): widget
                                     for widget in vars(gui).values()
                                     if widget.property(SlicerParameterNamePropertyName)})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        connectors = {name: _Connector(self.allParameters[name], widget) for name, widget in mapping.items()}
        tag = next(self._tags)
        self._connected[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.on_changed(self._taker(name, connector))
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._show())
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        for connector in self._connected.pop(tag, {}).values():
            connector.on_changed(None)

    def _taker(self, name: str, connector: _Connector) -> Callable[[], None]:
        def take() -> None:
            if not self._updating:
                self.setValue(name, connector.read())
        return take

    def _show(self) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for name, connector in self._all_connectors():
                    connector.write(self.getValue(name))
        finally:
            self._updating = False

    def _all_connectors(self) -> Iterator[tuple[str, _Connector]]:
        for connectors in self._connected.values():
            yield from connectors.items()

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: Any) -> Any:
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def parameterNodeWrapper(described: type) -> type:
    """Make the class with typed parameters that `described` describes by its annotations and defaults."""
    hints = typing.get_type_hints(described, include_extras=True)
    parameters = {name: _Parameter(name, hint, getattr(described, name, None)) for name, hint in hints.items()}
    attributes = {name: property(lambda self, name=name: self.getValue(name),
                                 lambda self, value, name=name: self.setValue(name, value)) for name in parameters}
    return type(described.__name__, (_Wrapper,), {**attributes, "allParameters": parameters,
                                                  "__doc__": described.__doc__, "__module__": described.__module__})
