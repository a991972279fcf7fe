"""The text of a GPU program: CUDA files joined into one, after the constants that Python and C share.

NVRTC then needs neither files nor a search path on the user's computer.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

_COMMON = Path(__file__).with_name("common.cuh")
_REAL = {torch.float32: "float", torch.float64: "double"}


@dataclass(frozen=True, eq=False)
class Source:
    """One GPU program, of which there is a text for each type of numbers.

    Attributes:
        folder: Where the files are.
        files: Their names, in the order in which they are joined.  `common.cuh` comes before them.
        constants: Numbers that both Python and the files use.  The files find each as a macro of this name.
    """

    folder: Path
    files: tuple[str, ...]
    constants: Mapping[str, int | float]

    def text(self, dtype: torch.dtype, sizes: Mapping[str, int] | None = None) -> str:
        """Return all that the compiler needs to know.

        `#line` makes its messages name the file and the line there.

        Args:
            dtype: The type of tensors, float32 or float64.  The files call it `real`.
            sizes: Further macros, for a program that is made for tensors of certain sizes.
        """
        macros = {"REAL": _REAL[dtype]}
        macros |= {name: _literal(number) for name, number in {**self.constants, **(sizes or {})}.items()}
        lines = [f"#define {name} {value}\n" for name, value in macros.items()]
        for path in (_COMMON, *(self.folder / name for name in self.files)):
            lines += [f'#line 1 "{path.name}"\n', path.read_text(encoding="utf-8")]
        return "".join(lines)


def _literal(number: int | float) -> str:
    return f"real({number!r})" if isinstance(number, float) else str(number)
