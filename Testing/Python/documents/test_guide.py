"""The guide to 3D Slicer names every control that a user can change or press, by what is read on it."""
from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator

import pytest
from repository import ROOT

GUIDE = (ROOT / "docs" / "tutorials" / "slicer.md").read_text(encoding="utf-8")
UI = ROOT / "TriplaneGaussianRecon" / "Resources" / "UI" / "TriplaneGaussianRecon.ui"
MODULE = ROOT / "TriplaneGaussianRecon" / "TriplaneGaussianReconModule"
SECTION = "ctkCollapsibleButton"
PASSIVE = {"QLabel", "QProgressBar", "QWidget", "qMRMLWidget", "QFrame", "QGroupBox"}  # nothing to change or to press
ELSEWHERE = "Run and results"  # the heading over what lies in no section
# What is read on buttons that get their text while the panel runs.
TEXTS = {"nextSliceButton": "Draw slice N next", "show3DButton": "Show 3D"}
EVERYWHERE = {"Close"}  # does in a window what it does in every other one


def plain(text: str) -> str:
    """A label as it is named: without its colon, its accelerator and what stands in brackets."""
    return re.sub(r"\s*\(.*?\)", "", text).strip().removesuffix(":").replace("&", "")


def names(parent: xml.Element) -> dict[str, str]:
    """Texts before fields, by the names of the fields: labels whose buddy they are."""
    return {label.findtext("property[@name='buddy']/cstring", ""): text for label in parent.iter("widget")
            if (text := label.findtext("property[@name='text']/string"))}


def controls(parent: xml.Element, section: str, beside: str = "") -> Iterator[tuple[str, str, str]]:
    """Section, name in the program, and visible label of every control, the sections themselves left out.

    A field without a label of its own belongs to the one in its row that has one.
    """
    labels = names(parent)
    for item in parent.findall("item"):
        for child in item:
            name, kind = child.get("name", ""), child.get("class", "")
            if child.tag == "layout":
                yield from controls(child, section, next((labels[each.get("name", "")] for each in child.iter("widget")
                                                          if each.get("name") in labels), ""))
            elif kind == SECTION or child.find("layout") is not None:
                inner = child.findtext("property[@name='text']/string", "") if kind == SECTION else section
                for layout in child.findall("layout"):
                    yield from controls(layout, inner)
            elif child.tag == "widget" and kind not in PASSIVE:
                own = child.findtext("property[@name='text']/string", "")
                yield section, name, plain(TEXTS.get(name) or labels.get(name) or own or beside)


def sections() -> dict[str, set[str]]:
    """What the tables of the guide's list of controls name, by their headings."""
    listed = re.search(r"^## Every control$(.*?)^## ", GUIDE, re.DOTALL | re.MULTILINE)
    assert listed is not None
    parts = re.split(r"^### (.+)$", listed[1], flags=re.MULTILINE)[1:]
    return {heading: {each.strip() for row in re.findall(r"^\| (.+?) \|", table, re.MULTILINE) for each in
                      row.split(",")} for heading, table in zip(parts[::2], parts[1::2], strict=True)}


def panel() -> list[tuple[str, str, str]]:
    """All controls of the panel."""
    found: list[tuple[str, str, str]] = []
    for layout in xml.parse(UI).getroot().findall("widget/layout"):
        found += controls(layout, ELSEWHERE)
    return [(ELSEWHERE if section == "Results" else section, name, label) for section, name, label in found]


@pytest.mark.parametrize(("section", "name", "label"), panel(), ids=lambda text: text)
def test_a_control_of_the_panel_is_in_the_guide_under_its_section(section: str, name: str, label: str) -> None:
    assert label, f"{name} has neither a text nor a label whose buddy it is"
    named = sections()[section]
    assert label in named


@pytest.mark.parametrize(("control", "needed"), [
    ("Excluded slices", "With *Replace bad slices*, *Fill a segmentation* and *Combine volumes*."),
    ("Labels from", "Where a segmentation is chosen.")])
def test_the_guide_says_what_to_do_for_a_control_to_be_there(control: str, needed: str) -> None:
    row = GUIDE[GUIDE.index("### Slices"):].partition(f"| {control} |")[2].partition("\n")[0]
    assert row.rstrip(" |").endswith(needed)


def test_the_guide_names_no_control_that_the_panel_does_not_have() -> None:
    known = {(section, label) for section, _, label in panel()}
    told = {(section, name) for section, table in sections().items() for name in table
            if section in {each for each, _ in known}}
    assert not {(section, name) for section, name in told - known
                if name != "control" and not name.startswith(("the ", "---"))}


def test_every_control_that_can_be_changed_is_found() -> None:
    """The program that reads the panel's file loses none of them."""
    every = {widget.get("name") for widget in xml.parse(UI).getroot().iter("widget")
             if widget.get("class") not in PASSIVE | {SECTION}}
    assert {name for _, name, _ in panel()} == every


def in_windows() -> Iterator[tuple[str, str]]:
    """Files of the module that make controls by themselves, and what is read on these."""
    for file in sorted(MODULE.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
            text = translated(call)
            made = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if made in ("QPushButton", "QCheckBox", "_button") and call.args and isinstance(call.args[0], ast.Call):
                text = translated(call.args[0])
            elif not (text.endswith(":") and "QFormLayout" in source):
                text = ""
            if text and text not in EVERYWHERE:
                yield file.name, plain(text)


def translated(call: ast.Call) -> str:
    """The text of a call of `_`; nothing for any other call."""
    if isinstance(call.func, ast.Name) and call.func.id == "_" and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value)
    return ""


@pytest.mark.parametrize(("file", "label"), sorted(set(in_windows())), ids=lambda text: text)
def test_a_control_of_a_window_is_in_the_guide(file: str, label: str) -> None:
    named = set(re.findall(r"\*\*(.+?)\*\*", GUIDE)).union(*sections().values())
    assert label in named
