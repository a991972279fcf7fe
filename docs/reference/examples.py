"""An extension of griffe, which reads docstrings for mkdocstrings: `Example:` is code, as `Examples:` is."""
from __future__ import annotations

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Without it, `Example:` is taken for a box of Markdown, in which `>>>` quotes and brackets link."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the title of the section in the docstring of anything that has one."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
