"""What stands below the button: what has happened last, until a choice changes, and why the button is grey."""
from __future__ import annotations

import html
from typing import Any

import slicer

from .. import wording
from ..run.parameters import TriplaneGaussianReconParameterNode

_RESULT = "result"  # begins the names of parameters that are no choices


class Message:
    """A line or two of text."""

    def __init__(self, label: Any) -> None:
        """Take over the label, whose text is marked up."""
        self._label = label
        self._isProblem, self._obstacle, self._choices = False, "", dict[str, str]()
        self.told = ""
        self._show()

    def tell(self, text: str, isProblem: bool, parameters: TriplaneGaussianReconParameterNode | None) -> None:
        """Tell a text, or nothing, until these choices change."""
        self.told, self._isProblem, self._choices = text, isProblem, _choicesIn(parameters)
        self._show()

    def follow(self, parameters: TriplaneGaussianReconParameterNode | None) -> None:
        """Forget what was told of other choices; that a node was removed is no choice."""
        former, self._choices = self._choices, _choicesIn(parameters)
        if any(self._choices.get(name) != value and not _isGone(value) for name, value in former.items()):
            self.told = ""
            self._show()

    def hinder(self, obstacle: str) -> None:
        """Say why the button cannot be clicked; nothing where it can."""
        self._obstacle = obstacle
        self._show()

    def _show(self) -> None:
        lines = [wording.red(self.told) if self._isProblem else html.escape(self.told)] if self.told else []
        if self._obstacle and self._obstacle != self.told:
            lines.append(html.escape(self._obstacle))
        self._label.setText("<br>".join(lines))
        self._label.setVisible(bool(lines))


def _choicesIn(parameters: TriplaneGaussianReconParameterNode | None) -> dict[str, str]:
    """All choices as the parameter node keeps them: values, and identifiers of nodes."""
    if parameters is None:
        return {}
    node, found = parameters.parameterNode, dict[str, str]()
    for name in node.GetParameterNames():
        found[name] = node.GetParameter(name)
    for number in range(node.GetNumberOfNodeReferenceRoles()):
        role = node.GetNthNodeReferenceRole(number)
        found[role] = node.GetNodeReferenceID(role) or ""
    return {name: value for name, value in found.items() if not name.startswith(_RESULT)}


def _isGone(value: str) -> bool:
    """Whether a value is the identifier of a node that was removed."""
    return value.startswith("vtkMRML") and slicer.mrmlScene.GetNodeByID(value) is None
