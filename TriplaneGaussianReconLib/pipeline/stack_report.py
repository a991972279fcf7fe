"""What a report tells of each of several volumes; to JSON and back."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.geometry import Axis
from ..data.stack_input import StackInput
from ..data.stack_motion import StackMotion
from .report_reader import Reader, axis, listed, number, text, whole


@dataclass(frozen=True)
class StackReport:
    """What was used of one of several volumes, and how it was carried to the first.

    Attributes:
        axis: `axis`: its slice axis.
        trusted: `trusted`: numbers of the slices that were used.
        thickness: `thickness_mm`: mm that each slice averages over.
        profile: `profile`: how it does so, box or gaussian.
        to_first: `to_first`: 4 rows of 4 numbers, LPS mm, which carry points of the volume, as its header has them, to
            the world of the first.
        gain: `gain`: see `bias`.
        bias: `bias`: the first volume's grey value is (that of this one - bias) / gain.
        volume: `input`: its file or folder, as it was given; None where it was in memory.
        labels: `input_labels`: the file of its labels, likewise; None without labels.
    """

    axis: Axis
    trusted: tuple[int, ...]
    thickness: float
    profile: str
    to_first: tuple[tuple[float, ...], ...]
    gain: float = 1.0
    bias: float = 0.0
    volume: str | None = None
    labels: str | None = None

    @classmethod
    def of(cls, given: StackInput, numbers: tuple[int, ...], motion: StackMotion, volume: str | None = None,
           labels: str | None = None) -> StackReport:
        """Describe one volume.

        Args:
            given: The volume.
            numbers: Of its slices that were used.
            motion: How it was carried to the first.
            volume: Its path.
            labels: The path of its labels.
        """
        return cls(given.slice_axis, tuple(sorted(numbers)), given.width, given.profile,
                   tuple(map(tuple, np.asarray(motion.matrix).tolist())), float(motion.gain), float(motion.bias),
                   volume, labels)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"input": self.volume, "input_labels": self.labels, "axis": self.axis, "trusted": list(self.trusted),
                "thickness_mm": self.thickness, "profile": self.profile,
                "to_first": [list(row) for row in self.to_first], "gain": self.gain, "bias": self.bias}

    @classmethod
    def from_json(cls, content: Any) -> StackReport:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "volume in the report")
        return cls(read("axis", axis), read("trusted", listed(whole)), read("thickness_mm", number),
                   read("profile", text), read("to_first", listed(listed(number))), read("gain", number),
                   read("bias", number), read.optional("input", text, None), read.optional("input_labels", text, None))
