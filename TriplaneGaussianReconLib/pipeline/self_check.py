"""What hidden slices tell of a result: scores beside those of usual methods, and the sentences for users; to JSON."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..prediction.hidden_score import HiddenScore
from .report_reader import Reader, index, mapped, number, text, whole

# Rank correlation on hidden slices below which users are told.  Between the slices in use it is lower by 0.1 on the
# mean of 23 public cases.
_RANKS = 0.5
_KEYS, _FORMER = ("psnr", "psnr_per_slice"), ("psnr_at_twice_the_gap", "per_slice")  # of the foreground, of all pixels
_TOO_FEW = ("Too few slices are used to hide one and check. So the expected error was not learnt: it is how far simple "
            "methods disagree, and errors may be many times as large.")
_MEANING = ("Used slices hidden and predicted from their neighbours across twice the real gap, scored in the body, "
            "each by what the others ask for: what lies between the used slices is usually better.")


@dataclass(frozen=True)
class SelfCheck:
    """Scores of observed slices that were hidden and predicted from their neighbours, across twice the real gap.

    All are of the foreground: the body, without what is around it.

    Attributes:
        band_68: `band_68`: 68 % of the pixels of the hidden slices have an error of at most this many times the
            expected one.
        note: `note`: what the scores mean, for users, and where the expected error says little, that.
        psnr: `psnr`, dB, of the range of the input's intensities: mean over the hidden slices. Nothing could be hidden
            where this is None. Reports of former versions have `psnr_at_twice_the_gap` instead, background included.
        slices: `slices`: how many slices were hidden.
        per_slice: `psnr_per_slice`, dB: PSNR of each hidden slice, by its number among the observed slices along their
            normal, counted from 0. Likewise `per_slice` in former versions.
        psnr_linear: `psnr_linear`, dB: what linear interpolation comes to on the same pixels.
        psnr_best_classical: `psnr_best_classical`, dB: likewise the best of the usual methods.
        best_classical: `best_classical`: which that is, of nearest, linear, cubic and pchip.
        rank_correlation: `rank_correlation`: Spearman's, of expected and real errors on the hidden slices: how well the
            expected error tells where errors are, from -1 to 1.
        is_former: Whether the scores are those of a former version.
    """

    band_68: float
    note: str
    psnr: float | None = None
    slices: int = 0
    per_slice: Mapping[int, float] = field(default_factory=dict)
    psnr_linear: float | None = None
    psnr_best_classical: float | None = None
    best_classical: str | None = None
    rank_correlation: float | None = None
    is_former: bool = False

    @classmethod
    def of(cls, band_68: float, scores: tuple[HiddenScore, ...], rank_correlation: float | None) -> SelfCheck:
        """Take the mean of what each hidden slice scored.

        Args:
            band_68: See the class.
            scores: Of each hidden slice.
            rank_correlation: See the class.
        """
        band_68 = round(band_68, 4)
        if not scores:
            return cls(band_68, _TOO_FEW)
        usual = {name: float(np.mean([score.classical[name] for score in scores])) for name in scores[0].classical}
        best = max(usual, key=lambda name: usual[name])
        found = cls(band_68, _MEANING, round(float(np.mean([score.psnr for score in scores])), 2), len(scores),
                    {score.plane: round(score.psnr, 2) for score in scores}, round(usual["linear"], 2),
                    round(usual[best], 2), best, None if rank_correlation is None else round(rank_correlation, 3))
        return replace(found, note=f"{found.note} {found.doubt}".rstrip())

    @property
    def found(self) -> str:
        """How well hidden slices were predicted, for users.

        Example:
            >>> SelfCheck(1.2, "", 24.1, 7, {}, 22.4, 23.2, "cubic").found
            '7 used slices, hidden and predicted across twice the gap: 1.7 dB better than linear between slices, 0.9 dB better than the best usual method (cubic); PSNR 24.1 dB.'
        """  # noqa: E501 - the output is one line
        if self.psnr is None:
            return self.note
        slices = f"{self.slices} used slice{'s' * (self.slices != 1)}"
        gains = ", ".join(self.gains) + "; " * bool(self.gains)
        return f"{slices}, hidden and predicted across twice the gap: {gains}PSNR {self.psnr:.1f} dB."

    @property
    def gains(self) -> tuple[str, ...]:
        """How much better than usual methods, for users; nothing of reports of former versions.

        Example:
            >>> SelfCheck(1.2, "", 24.1, 7, {}, 24.3, 24.3, "linear").gains
            ('0.2 dB worse than linear between slices, which is the best usual method',)
        """
        if self.psnr is None or self.psnr_linear is None or self.psnr_best_classical is None:
            return ()
        linear = f"{_apart(self.psnr - self.psnr_linear)} linear between slices"
        if self.best_classical == "linear":
            return (f"{linear}, which is the best usual method",)
        return (linear, f"{_apart(self.psnr - self.psnr_best_classical)} the best usual method "
                        f"({self.best_classical})")

    @property
    def doubt(self) -> str:
        """What users should know of the expected error; empty where there is nothing.

        Example:
            >>> SelfCheck(1.2, "", rank_correlation=0.16).doubt[:62]
            'The expected error says little about where the errors are (ran'
        """
        if self.rank_correlation is None or self.rank_correlation >= _RANKS:
            return ""
        return ("The expected error says little about where the errors are (rank correlation "
                f"{self.rank_correlation:.2f} on the hidden slices, mostly less between the used ones): trust its "
                "size, not its pattern.")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it; without scores, where nothing could be hidden."""
        if self.psnr is None:
            return {"note": self.note, "band_68": self.band_68}
        psnr, per_slice = _FORMER if self.is_former else _KEYS
        further = {"psnr_linear": self.psnr_linear, "psnr_best_classical": self.psnr_best_classical,
                   "best_classical": self.best_classical, "rank_correlation": self.rank_correlation}
        return {psnr: self.psnr, **{key: value for key, value in further.items() if value is not None},
                "slices": self.slices, "band_68": self.band_68,
                per_slice: {str(number): psnr for number, psnr in self.per_slice.items()}, "note": self.note}

    @classmethod
    def from_json(cls, content: Any) -> SelfCheck:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "self_check")
        is_former = _KEYS[0] not in content and not set(_FORMER).isdisjoint(content)
        psnr, by_slice = _FORMER if is_former else _KEYS
        per_slice: dict[int, float] = read.optional(by_slice, mapped(number, index), {})
        return cls(read("band_68", number), read("note", text), read.optional(psnr, number, None),
                   read.optional("slices", whole, 0), per_slice, read.optional("psnr_linear", number, None),
                   read.optional("psnr_best_classical", number, None), read.optional("best_classical", text, None),
                   read.optional("rank_correlation", number, None), is_former)


def _apart(gain: float) -> str:
    """How far a score is above another."""
    if abs(gain) < 0.05:
        return "as good as"
    return f"{abs(gain):.1f} dB {'better' if gain > 0 else 'worse'} than"
