"""Sentences are text, and remember what a translation needs."""
from __future__ import annotations

import copy
import pickle

import pytest

from TriplaneGaussianReconLib.data.sentences import Sentence
from TriplaneGaussianReconLib.errors import InputError

SAID = Sentence("Slice {index} of '{name}' is damaged.", index=7, name="{CT}")


def test_a_sentence_is_its_text() -> None:
    assert SAID == "Slice 7 of '{CT}' is damaged." and f"{SAID}" == str(InputError(SAID)) == SAID


def test_a_sentence_can_be_said_in_another_language() -> None:
    assert "Schicht {index} von '{name}'".format(**SAID.values) == "Schicht 7 von '{CT}'"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda said: pickle.loads(pickle.dumps(said))])
def test_copies_remember_it_too(again: object) -> None:
    other = again(SAID)  # type: ignore[operator]
    assert other == SAID and other.template == SAID.template and other.values == SAID.values
