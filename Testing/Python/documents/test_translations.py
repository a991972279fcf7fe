"""Translations of the module's texts: files that Slicer's script made, with what was translated in them."""
from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
from repository import ROOT

FILES = sorted((ROOT / "Resources" / "Translations").glob("*.ts"))
# Texts without a word, and names that a program reads: what is empty stays as it is.
LEFT_ALONE = re.compile(r"vtkMRML\w+|TriplaneGaussianRecon|[\d,-]+| (%|mm|GB)|N = ")


def messages(path: Path) -> list[tuple[str, xml.Element]]:
    """Texts and their translations; a text of several files of the module is there several times."""
    return [(message.findtext("source", ""), translation) for message in xml.parse(path).getroot().iter("message")
            if (translation := message.find("translation")) is not None]


def translated(path: Path) -> dict[str, str]:
    """Texts that have a translation."""
    return {source: element.text for source, element in messages(path) if element.text}


def test_the_languages_are_german_and_french() -> None:
    assert [path.stem for path in FILES] == ["TriplaneGaussianRecon_de", "TriplaneGaussianRecon_fr"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_all_texts_are_translated_and_names_that_programs_read_are_not(path: Path) -> None:
    texts = messages(path)
    assert len(texts) > 300
    assert {source for source, element in texts if not element.text} == {
        source for source, _ in texts if LEFT_ALONE.fullmatch(source)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_translations_are_marked_for_those_who_speak_the_language_better(path: Path) -> None:
    assert {element.get("type") for _, element in messages(path)} == {"unfinished"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_translations_have_the_placeholders_of_what_they_translate(path: Path) -> None:
    """Slicer drops others, see `tr` in Base/Python/slicer/i18n.py."""
    for source, text in translated(path).items():
        assert sorted(re.findall(r"\{[^{}]*\}", source)) == sorted(re.findall(r"\{[^{}]*\}", text)), source
        assert re.findall(r"</?\w+>", source) == re.findall(r"</?\w+>", text), source


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_translations_have_the_accelerators_and_colons_of_what_they_translate(path: Path) -> None:
    for source, text in translated(path).items():
        assert len(re.findall(r"&\w", source)) == len(re.findall(r"&\w", text)), source
        assert text.endswith(":") == source.endswith(":"), source
        assert text == text.strip() and source == source.strip(), source


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_controls_are_named_as_they_are_read_in_that_language(path: Path) -> None:
    texts = {source.removesuffix(":"): text.removesuffix(":").strip() for source, text in translated(path).items()}
    named = [(texts[name], translation) for source, translation in texts.items()
             for name in re.findall(r"(?:'|<b>)([A-Z][^'<>{}]+)(?:'|</b>)", source) if name in texts]
    assert len(named) >= 5
    assert not [(name, text) for name, text in named if name not in text]
