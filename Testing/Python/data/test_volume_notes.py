"""Which volume a note or an error is about."""
from __future__ import annotations

import warnings

import pytest

from TriplaneGaussianReconLib.data.volume_notes import about_volume
from TriplaneGaussianReconLib.errors import InputError, InputNote, TooLargeError
from TriplaneGaussianReconLib.runtime.notes import collected_notes


def test_notes_begin_with_the_volume_and_are_collected() -> None:
    with pytest.warns(InputNote), collected_notes() as notes:
        for number in range(2):
            with about_volume(number):
                warnings.warn("A slice is missing.", InputNote, stacklevel=1)
    assert notes == ["Volume 1: A slice is missing.", "Volume 2: A slice is missing."]


def test_other_warnings_are_as_they_were() -> None:
    with pytest.warns(UserWarning, match="^of somebody else$"), about_volume(0):
        warnings.warn("of somebody else", UserWarning, stacklevel=1)


def test_errors_keep_their_class_and_what_was_noted_before_is_told() -> None:
    with (pytest.warns(InputNote, match="Volume 3: tilted"), pytest.raises(TooLargeError, match="^Volume 3: It is"),
          about_volume(2)):
        warnings.warn("tilted", InputNote, stacklevel=1)
        raise TooLargeError("It is large.")
    with pytest.raises(KeyError), about_volume(2):
        raise KeyError("bug")
    assert issubclass(TooLargeError, InputError)
