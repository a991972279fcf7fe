"""Stand-in for PythonQt's `qt` module: PySide6, with properties and connections as PythonQt presents them.

What differs from PySide6 in Slicer, and is made alike here for every class of Qt:
- a property is an attribute: `button.enabled = False`, `combo.count`; `name` stands for `objectName`;
- `object.connect("clicked(bool)", f)` and `object.disconnect(...)` take a signal by its signature, and return whether
  that was possible: a signal that does not exist is told on the console alone (here in `warnings`);
- a value of a wrong type is not taken, of which nothing but the console is told either;
- such a connection keeps `f`, and what `f` is a method of, until it is disconnected or the sender is destroyed; the
  garbage collector does not see that.
Looked up in MeVisLab/pythonqt, src/PythonQt.cpp, src/PythonQtClassInfo.cpp, src/PythonQtInstanceWrapper.cpp and
src/PythonQtSignalReceiver.cpp.
Setting an attribute that is neither property nor method fails, as it does there.

Qt needs an application object before any widget: importing this module makes one if there is none.
"""
from __future__ import annotations

import inspect
import re
import xml.etree.ElementTree as xml
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets
from PySide6.QtCore import *  # noqa: F403
from PySide6.QtGui import *  # noqa: F403
from PySide6.QtNetwork import *  # noqa: F403
from PySide6.QtWidgets import *  # noqa: F403

# Getters that C++ calls as virtual functions: left as they are, or a property would call itself.
_VIRTUAL = {"QWidget.sizeHint", "QWidget.minimumSizeHint", "QProgressBar.text"}
# Names that are a slot or a signal as well, for which PythonQt takes them: no attribute can be set.
_SLOTS = {"QTimer.singleShot"}


class _QtProperty:
    """A Qt property as a Python attribute; the class itself keeps what had the name before (QTimer.singleShot)."""

    def __init__(self, name: str, writable: bool, of_class: Any) -> None:
        self._name, self._writable, self._of_class = name, writable, of_class

    def __get__(self, instance: QtCore.QObject | None, owner: type) -> Any:
        return self._of_class if instance is None else instance.property(self._name)

    def __set__(self, instance: QtCore.QObject, value: Any) -> None:
        if not self._writable:
            raise AttributeError(f"Property '{self._name}' of {type(instance).__name__} can only be read")
        if not instance.setProperty(self._name, value):
            warnings.append(f"Property '{self._name}' of {type(instance).__name__} does not take {value!r}")


warnings: list[str] = []  # what PythonQt would print and go on; tests look whether anything was said


def _signal(sender: QtCore.QObject, signature: str) -> Any:
    """Return the bound signal of `sender` with this C++ signature; None, with a warning, if there is none."""
    meta = sender.metaObject()
    signature = re.sub(r"\bvtk\w+\*", "PyObject", signature)  # what stand-ins for widgets of Slicer have in its place
    number = meta.indexOfSignal(QtCore.QMetaObject.normalizedSignature(signature).data().decode())
    if number < 0:
        warnings.append(f"{meta.className()} has no signal {signature}")
        return None
    return getattr(sender, signature.partition("(")[0])


# What connections keep alive, by the address of the sender in C++: (signature, receiver) of each.  PySide6 would let go
# of what a bound method belongs to; and from here nothing leads to the sender, so that no cycle can be found.
_kept: dict[int, list[tuple[str, Any]]] = {}


def _connect(sender: QtCore.QObject, signature: str, receiver: Any) -> bool:
    signal = _signal(sender, signature)
    if signal is None:
        return False
    signal.connect(receiver)
    address, = shiboken6.getCppPointer(sender)
    if address not in _kept:
        _kept[address] = []
        _signal(sender, "destroyed()").connect(lambda: _kept.pop(address))
    _kept[address].append((signature, receiver))
    return True


def _disconnect(sender: QtCore.QObject, signature: str, receiver: Any) -> bool:
    signal, (address,) = _signal(sender, signature), shiboken6.getCppPointer(sender)
    if signal is None or (signature, receiver) not in _kept.get(address, ()):
        return False
    _kept[address].remove((signature, receiver))
    return bool(signal.disconnect(receiver))


def _with_connect(get: Callable[[QtCore.QObject, str], Any]) -> Callable[[QtCore.QObject, str], Any]:
    """Return `get`, a class's way to look up attributes, with connections as in PythonQt.

    PySide6 answers `connect` before it looks into the class, and uses it itself with other arguments.
    """
    own = {"connect": _connect, "disconnect": _disconnect}

    def get_attribute(self: QtCore.QObject, name: str) -> Any:
        if name not in own:
            return get(self, name)
        return lambda *given: own[name](self, *given) if len(given) == 2 else get(self, name)(*given)

    return get_attribute


def _set_attribute(self: QtCore.QObject, name: str, value: Any) -> None:
    attribute = inspect.getattr_static(type(self), name, None)
    if isinstance(attribute, _QtProperty):
        attribute.__set__(self, value)
    elif isinstance(attribute, QtCore.Property):
        self.setProperty(name, value)
    elif type(self).__module__.startswith("PySide6.") and not isinstance(value, QtCore.SignalInstance):
        raise AttributeError(f"Attribute '{name}' does not exist, and a {type(self).__name__} takes no new ones")
    else:  # PySide6 keeps bound signals this way
        self.__dict__[name] = value


def _present_as_pythonqt(cls: type[QtCore.QObject]) -> None:
    """Turn the Qt properties that `cls` itself declares into attributes, and see to connections."""
    cls.__setattr__ = _set_attribute
    if "__getattribute__" in vars(cls):
        cls.__getattribute__ = _with_connect(cls.__getattribute__)
    meta = cls.staticMetaObject
    for number in range(meta.propertyOffset(), meta.propertyCount()):
        found = meta.property(number)
        if f"{cls.__name__}.{found.name()}" not in _VIRTUAL | _SLOTS:
            setattr(cls, found.name(), _QtProperty(found.name(), found.isWritable(), getattr(cls, found.name(), None)))


for _module in (QtCore, QtGui, QtNetwork, QtWidgets):
    for _, _class in inspect.getmembers(_module, lambda x: inspect.isclass(x) and issubclass(x, QtCore.QObject)):
        _present_as_pythonqt(_class)
QtCore.QObject.name = _QtProperty("objectName", True, None)


def _no_bytes(self: QtCore.QByteArray) -> bytes:
    raise TypeError("cannot convert 'QByteArray' object to bytes")


QtCore.QByteArray.__bytes__ = _no_bytes


class QUiLoader(QtUiTools.QUiLoader):
    """Loads .ui files; knows the stand-ins for widgets of CTK and Slicer."""

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        import ctk
        import qMRMLWidgets

        for widget in (ctk.ctkCollapsibleButton, qMRMLWidgets.qMRMLWidget, qMRMLWidgets.qMRMLNodeComboBox):
            self.registerCustomWidget(widget)

    def load(self, file: QtCore.QFile) -> QtWidgets.QWidget:
        """Load a file that is open; connections between stand-ins that carry a vtkObject* are made here."""
        root = xml.fromstring(bytes(file.readAll().data()))
        connections = root.find("connections")
        carrying = [] if connections is None else [c for c in connections if "vtk" in c.findtext("signal", "")]
        for connection in carrying:
            connections.remove(connection)
        buffer = QtCore.QBuffer()
        buffer.setData(xml.tostring(root))
        buffer.open(QtCore.QBuffer.ReadOnly)
        widget = super().load(buffer)
        found = {child.objectName: child for child in (widget, *widget.findChildren(QtCore.QObject))}
        for connection in carrying:
            sender, signal, receiver, slot = (connection.findtext(name, "").partition("(")[0]
                                              for name in ("sender", "signal", "receiver", "slot"))
            getattr(found[sender], signal).connect(getattr(found[receiver], slot))
        return widget


_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["stand-in for 3D Slicer"])
