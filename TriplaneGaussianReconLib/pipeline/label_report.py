"""What a report tells about labels that were filled on slices whose image is known; to JSON and back."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..data.label_slices import LabelSlices
from .report_reader import Reader, flag, listed, mapped, number, text, whole


@dataclass(frozen=True)
class LabelCompletion:
    """Labels that were filled.  Slices have their numbers in the volume, along the axis whose gaps are filled.

    Attributes:
        slices: `drawn_slices`, `empty_slices`, `filled_slices`: which slices carried labels, which of those are empty,
            and on which labels were filled.
        next_slices: `next_slices`: where one more drawn slice would help most, the best first.
        methods: `methods`: share of each method in the labels, from 0 to 1, the largest first.
        hidden_dice: `hidden_dice`: mean Dice of slices whose labels were hidden and filled; None where none could be.
        is_warm: `started_from_earlier_run`: whether the run started from what an earlier one learnt.
    """

    slices: LabelSlices
    next_slices: tuple[int, ...]
    methods: Mapping[str, float]
    hidden_dice: float | None = None
    is_warm: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        dice = {} if self.hidden_dice is None else {"hidden_dice": self.hidden_dice}
        return {"drawn_slices": list(self.slices.drawn), "empty_slices": list(self.slices.empty),
                "filled_slices": list(self.slices.filled), "next_slices": list(self.next_slices),
                "methods": dict(self.methods), "started_from_earlier_run": self.is_warm, **dice}

    @classmethod
    def from_json(cls, content: Any) -> LabelCompletion:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "label_completion")
        drawn, empty, filled = (read(f"{name}_slices", listed(whole)) for name in ("drawn", "empty", "filled"))
        return cls(LabelSlices(drawn, empty, filled), read("next_slices", listed(whole)),
                   read("methods", mapped(number, text)), read.optional("hidden_dice", number, None),
                   read.optional("started_from_earlier_run", flag, False))
