"""What a report tells of several volumes: of each, and what was chosen by pixels that were hidden; to JSON and back."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.geometry import Axis
from ..data.stack_input import StackInput
from ..data.stack_motion import StackMotion
from .report_reader import Reader, axis, listed, number, text, whole

# Times what noise and resolution explain, from which users are told: at most 1.08 in fourteen simulations whose slices
# lay still, 1.5 to 2.2 in three whose slices moved singly, and 1.06 in a fourth of little detail.
_DOUBTFUL = 1.3
_GOOD = 40.0  # dB, above which nobody needs to be told

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
        mask: `input_mask`: the file of its mask, likewise; None without.
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
    mask: str | None = None

    @classmethod
    def of(cls, given: StackInput, numbers: tuple[int, ...], motion: StackMotion) -> StackReport:
        """Describe one volume.

        Args:
            given: The volume.
            numbers: Of its slices that were used.
            motion: How it was carried to the first.
        """
        return cls(given.slice_axis, tuple(sorted(numbers)), given.width, given.profile,
                   tuple(map(tuple, np.asarray(motion.matrix).tolist())), float(motion.gain), float(motion.bias))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"input": self.volume, "input_labels": self.labels, "input_mask": self.mask, "axis": self.axis,
                "trusted": list(self.trusted), "thickness_mm": self.thickness, "profile": self.profile,
                "to_first": [list(row) for row in self.to_first], "gain": self.gain, "bias": self.bias}

    @classmethod
    def from_json(cls, content: Any) -> StackReport:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "volume in the report")
        return cls(read("axis", axis), read("trusted", listed(whole)), read("thickness_mm", number),
                   read("profile", text), read("to_first", listed(listed(number))), read("gain", number),
                   read("bias", number), *(read.optional(key, text, None) for key in
                                           ("input", "input_labels", "input_mask")))


@dataclass(frozen=True)
class HiddenPixelReport:
    """What was chosen from the data of several volumes: that with which pixels that were hidden were found best.

    Attributes:
        smoothness: `smoothness`: its weight, beside that of one observed pixel per voxel.
        trust: `trust`: weight of what the network restored, beside that of an observed pixel; 0 where smooth values
            only begin from it; infinity, null in JSON, where it is taken as it is.
        share: `share` of the pixels that were hidden, from 0 to 1.
        error: `error`: root mean square error of these, in units of the input, noise included.
        psnr: `psnr`, dB, of the range of the input's intensities.
        times_expected: `times_expected`: error, in multiples of what noise and resolution explain.
    """

    smoothness: float
    trust: float
    share: float
    error: float
    psnr: float
    times_expected: float

    @classmethod
    def of(cls, smoothness: float, trust: float, share: float, squared: float, times_expected: float, scale: float
           ) -> HiddenPixelReport:
        """Describe a choice.

        Args:
            smoothness: The weight.
            trust: Likewise.
            share: Of the pixels that were hidden.
            squared: Their mean squared error, in units of the model.
            times_expected: Its root, in multiples of what noise and resolution explain.
            scale: Units of the input in one of the model.
        """
        return cls(float(smoothness), float(trust), float(share), float(scale * squared ** 0.5),
                   round(-10.0 * math.log10(max(squared, 1e-10)), 2), round(float(times_expected), 3))

    @property
    def choice(self) -> str:
        """What was chosen, for users.

        Example:
            >>> HiddenPixelReport.of(0.0123, 0.3, 0.1, 0.0004, 1.0, 500.0).choice
            'Smoothness weight 0.0123; trust in the restoration 0.3, chosen by hidden pixels.'
        """
        trust = f"trust in the restoration {self.trust:.3g}" if math.isfinite(self.trust) else "restoration as it is"
        return f"Smoothness weight {self.smoothness:.3g}; {trust}, chosen by hidden pixels."

    @property
    def found(self) -> str:
        """How well hidden pixels were found, for users.

        Example:
            >>> HiddenPixelReport.of(0.0123, 0.3, 0.1, 0.0004, 1.0, 500.0).found
            '10% of the pixels, hidden and found again, missed by 10 grey values (root mean square; 33.98 dB PSNR).'
        """
        return (f"{self.share:.0%} of the pixels, hidden and found again, missed by {self.error:.3g} grey values "
                f"(root mean square; {self.psnr:.4g} dB PSNR).")

    @property
    def doubts(self) -> tuple[str, ...]:
        """What users should know before they trust the result; empty where there is nothing.

        Example:
            >>> HiddenPixelReport.of(0.0123, 0.3, 0.1, 0.0004, 2.0, 500.0).doubts[0][:63]
            'Hidden pixels are missed by 2 times what noise and resolution e'
        """
        if self.times_expected <= _DOUBTFUL or self.psnr > _GOOD:
            return ()
        return (f"Hidden pixels are missed by {self.times_expected:.2g} times what noise and resolution explain. "
                "Slices may have moved singly, or have another thickness or profile than was said: look at the result "
                "with care.",)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it, with a note for users."""
        return {"smoothness": self.smoothness, "trust": self.trust if math.isfinite(self.trust) else None,
                "share": self.share, "error": self.error, "psnr": self.psnr, "times_expected": self.times_expected,
                "note": self.choice}

    @classmethod
    def from_json(cls, content: Any) -> HiddenPixelReport:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "hidden_pixels")
        return cls(read("smoothness", number), read.optional("trust", number, math.inf), read("share", number),
                   read("error", number), read("psnr", number), read("times_expected", number))
