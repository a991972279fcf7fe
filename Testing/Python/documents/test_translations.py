"""Translations of the module's texts: files that Slicer's script made, with what was translated in them."""
from __future__ import annotations

import re
import xml.etree.ElementTree as xml

import pytest
from repository import ROOT

FILES = sorted((ROOT / "Resources" / "Translations").glob("*.ts"))


def translated(root: xml.Element) -> dict[str, str]:
    """Texts that have a translation."""
    found = {message.findtext("source", ""): message.findtext("translation", "") for message in root.iter("message")}
    return {source: text for source, text in found.items() if text}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_translations_have_the_placeholders_of_what_they_translate(path: object) -> None:
    """Slicer drops others, see `tr` in Base/Python/slicer/i18n.py."""
    texts = translated(xml.parse(path).getroot())  # type: ignore[arg-type]
    assert len(texts) > 80
    for source, text in texts.items():
        assert set(re.findall(r"\{[^{}]+\}", source)) == set(re.findall(r"\{[^{}]+\}", text)), source
        assert text.endswith(":") == source.endswith(":"), source


def test_german_and_french_have_been_begun_and_translate_the_same_texts() -> None:
    german, french = (translated(xml.parse(path).getroot()) for path in FILES)
    assert [path.stem for path in FILES] == ["TriplaneGaussianRecon_de", "TriplaneGaussianRecon_fr"]
    assert set(german) == set(french)
