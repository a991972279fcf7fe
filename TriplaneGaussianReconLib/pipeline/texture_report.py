"""What a report tells of a result whose filled slices were made to look like the observed ones; to JSON and back."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .report_reader import Reader, number, text, whole


@dataclass(frozen=True)
class TextureReport:
    """Noise that was added to filled slices.

    Attributes:
        noise: `added_noise`: its standard deviation, in units of the input; 0 where none was added.
        slices: `noisy_slices`: on how many slices of the result.
        note: `note`: the same for users, and what such a result is for.
    """

    noise: float
    slices: int
    note: str

    @classmethod
    def of(cls, noise: float, slices: int, is_structure: bool) -> TextureReport:
        """Put it into words; is_structure: whether much of the scan's fine detail seems to be structure."""
        if not noise > 0.0:
            return cls(0.0, 0, "Even texture: no noise was added, since filled slices lack none that can be measured.")
        note = (f"Even texture: noise of {noise:.3g} (standard deviation, in units of the volume) was added to "
                f"{slices} filled slices. Use this result for looking, not for measuring.")
        if is_structure:
            note += (" Much of the fine detail of this scan is structure rather than noise: on filled slices there is "
                     "noise instead.")
        return cls(noise, slices, note)

    @property
    def remark(self) -> str:
        """The same for the header of a file."""
        return f"even texture: noise of {self.noise:.3g} added to filled slices, for looking, not for measuring"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"kind": "even", "added_noise": self.noise, "noisy_slices": self.slices, "note": self.note}

    @classmethod
    def from_json(cls, content: Any) -> TextureReport:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "texture")
        return cls(read("added_noise", number), read("noisy_slices", whole), read("note", text))
