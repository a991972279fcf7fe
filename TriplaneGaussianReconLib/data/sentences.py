"""Sentences for users that another program can translate."""
from __future__ import annotations

from typing import Any


class Sentence(str):
    """An English sentence that remembers what it was made from.

    Attributes:
        template: The sentence with the names of its values in braces, which a translation goes by.
        values: What stands for each name.

    Example:
        >>> said = Sentence("Slice {index} is damaged.", index=7)
        >>> said
        'Slice 7 is damaged.'
        >>> said.template
        'Slice {index} is damaged.'
    """

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Sentence:
        """Fill in the values."""
        sentence = super().__new__(cls, template.format(**values))
        sentence.template, sentence.values = template, values
        return sentence

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        """How copies are made."""
        return (self.template,), self.values
