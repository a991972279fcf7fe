#!/usr/bin/env python3
"""Run `evaluate` on a folder of volumes and write the tables of all cases, with what they come to.

    quality.py DATA_FOLDER --work OUT_FOLDER --table TABLE.md [--figures FOLDER] [--device cuda]
               [--cases NAME:K ...] [--ours fast,paper] [--peers innergs-style,eclare --eclare-python PYTHON]

Volumes are NAME.nii.gz or NAME.npz in DATA_FOLDER; labels are NAME_seg, where that exists.  A case is NAME:K (every Kth
slice is kept), NAME:hideK (every Kth is hidden), or NAME@N:K (of the central cube of N voxels a side).  Peers, which
are slow, are run where every 3rd slice is kept, since there ECLARE can be compared.

Every case is one call of the command line; what is in OUT_FOLDER already is not run again, what failed is.
"""
from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.io.atomic import write_json

THIN = ("us_brain_resect3", "mr_brain_t1_chris", "mr_fetal_atlas_ga30", "ct_chest_1mm", "ct_abdomen_totalseg",
        "ct_spine_lumbar", "mr_heart_la_a", "mr_brain_t1_aseg")
THICK = ("ct_spleen_thick5", "mr_heart_acdc081", "mr_prostate_t2", "mr_fetal_stack1", "mr_fetal_stack3",
         "mr_fetal_stack5", "mr_brain_glioma_t1")
CASES = [*(f"{name}:{step}" for name in THIN for step in (4, 2)), *(f"{name}:2" for name in THICK),
         *(f"{name}:{step}" for step in ("8", "hide20") for name in THIN),
         "mr_brain_t1_chris@160:3", "mr_fetal_atlas_ga30:3"]
SIMPLE = ("linear", "cubic", "pchip")
CLASSICAL = ("nearest", *SIMPLE, "flow")
LABELS = ("label-nearest", "label-shape", "label-contour")
ENOUGH = 0.3  # dB, a gain that is worth having
Rows = dict[str, dict[str, Any]]  # by method, as in the JSON of `evaluate`


@dataclass(frozen=True)
class Case:
    """A volume, perhaps its central cube of `side` voxels, and its slices: every `step`th is kept, or hidden."""

    name: str
    side: int | None
    hides: bool
    step: int

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read NAME:K, NAME:hideK, NAME@N:K or NAME@N:hideK."""
        found = re.fullmatch(r"([^:@]+)(?:@(\d+))?:(hide)?(\d+)", text)
        if not found:
            raise argparse.ArgumentTypeError(f"'{text}' is no case such as ct_chest_1mm:4 or ct_chest_1mm:hide20")
        name, side, hides, step = found.groups()
        return cls(name, int(side) if side else None, hides is not None, int(step))

    @property
    def volume(self) -> str:
        """The volume's name."""
        return f"{self.name}@{self.side}" if self.side else self.name

    @property
    def file(self) -> str:
        """The name of its files."""
        return f"{self.volume}_{'hide' if self.hides else ''}{self.step}"

    @property
    def slices(self) -> str:
        """Which slices are kept, for people."""
        return f"every {self.step}th hidden" if self.hides else f"k={self.step}"

    @property
    def group(self) -> str:
        """The cases that a mean is taken over: the targets are stated for k = 4 and 2 together."""
        return "k=4 and k=2" if self.slices in ("k=4", "k=2") else self.slices

    @property
    def has_peers(self) -> bool:
        """Whether peers are run on it."""
        return self.slices == "k=3"


# Running ------------------------------------------------------------------------------------------------------------


def rows_of(case: Case, args: argparse.Namespace) -> Rows:
    """Evaluate a case as far as that has not been done, and return all of its rows that did not fail."""
    target: Path = args.work / f"{case.file}.json"
    figure = args.figures / f"{case.file}.png" if args.figures else None
    labels = found(args.data, f"{case.name}_seg")
    methods = [*CLASSICAL, *args.ours, *(args.peers if case.has_peers else ()), *(LABELS if labels else ())]
    report = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {"rows": []}
    missing = set(methods) - set(succeeded(report))
    if figure and not figure.exists():
        missing = set(methods)  # it shows the best of all
    if missing:
        print("evaluating", case.volume, case.slices, file=sys.stderr, flush=True)
        new = evaluate(case, [name for name in methods if name in missing], labels, figure, args)
        report = merged(report, new)
        write_json(target, report)
    rows = succeeded(report)
    for row in report["rows"]:
        if row["failure"] is not None and row["name"] in methods:
            print(f"{case.volume} {case.slices}: {row['name']} failed: {row['failure']}", file=sys.stderr)
    return rows


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Both reports in one; of one method's rows, the newer one that did not fail."""
    last = [*old["rows"], *new["rows"], *succeeded(old).values(), *succeeded(new).values()]
    return {**old, **new, "rows": list({row["name"]: row for row in last}.values())}


def succeeded(report: dict[str, Any]) -> Rows:
    """The rows that did not fail."""
    return {row["name"]: row for row in report["rows"] if row["failure"] is None}


def evaluate(case: Case, methods: Sequence[str], labels: Path | None, figure: Path | None,
             args: argparse.Namespace) -> dict[str, Any]:
    """Call the command line; return what it wrote, no rows if it says on stderr why it could not."""
    part: Path = args.work / f"{case.file}.part.json"
    part.unlink(missing_ok=True)
    command = [sys.executable, "-m", "TriplaneGaussianReconLib", "evaluate", str(volume_of(case, args)), "--axis", "k",
               "--hide-every" if case.hides else "--keep-every", str(case.step), "--methods", ",".join(methods),
               "--json", str(part), "--device", args.device]
    command += ["--labels", str(labels)] if labels else []
    command += ["--figure", str(figure)] if figure else []
    command += ["--eclare-python", args.eclare_python] if "eclare" in methods and args.eclare_python else []
    subprocess.run(command, stdout=subprocess.DEVNULL)
    if not part.exists():
        return {"rows": []}
    content: dict[str, Any] = json.loads(part.read_text(encoding="utf-8"))
    part.unlink()
    return content


def volume_of(case: Case, args: argparse.Namespace) -> Path:
    """The file of the case's volume; a central cube is cut out first."""
    whole = found(args.data, case.name)
    assert whole is not None, "looked for before the work"
    if case.side is None:
        return whole
    from ablation import centred

    from TriplaneGaussianReconLib.io.readers import read_image
    from TriplaneGaussianReconLib.io.writers import write_image

    cube: Path = args.work / f"{case.volume}.npz"
    write_image(cube, centred(read_image(whole), case.side))
    return cube


def found(folder: Path, name: str) -> Path | None:
    """The volume called `name`, if there is one."""
    return next((file for end in (".nii.gz", ".npz") if (file := folder / f"{name}{end}").exists()), None)


# Figures ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """What one method comes to on a case; gains are over the best classical method, None is what there is not.

    ratio: label error against the best classical method's.
    """

    psnr: float
    gain: float
    ssim: float
    ssim_gain: float
    dice: float | None
    dice_gain: float | None
    ratio: float | None
    band: float | None
    correlation: float | None
    seconds: float
    megabytes: float | None

    @classmethod
    def of(cls, rows: Rows, name: str) -> Score:
        """Gather the figures of the method called `name`."""
        row = rows[name]
        psnr, ssim, dice, best = row["image"]["psnr"], row["image"]["ssim"], row["dice"], best_dice(rows)
        gain = ratio = None
        if dice is not None and best is not None:
            gain, ratio = dice - best, (1 - dice) / (1 - best) if best < 1 else None
        memory = row["peak_memory_bytes"]
        return cls(psnr, psnr - highest(rows, CLASSICAL, "psnr"), ssim, ssim - highest(rows, CLASSICAL, "ssim"), dice,
                   gain, ratio, row.get("share_in_band_68"), row.get("rank_correlation"), row["seconds"],
                   memory / 1e6 if memory is not None else None)


def highest(rows: Rows, methods: Iterable[str], score: str) -> float:
    """The best of some methods' image scores."""
    return max(rows[name]["image"][score] for name in methods)


def best_dice(rows: Rows) -> float | None:
    """That of the best classical method for labels."""
    return max((row["dice"] for name, row in rows.items() if name in LABELS and row["dice"] is not None), default=None)


def number(value: float | None, form: str) -> str:
    """Format, or leave blank."""
    return "" if value is None else format(value, form)


def table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its first column to the left."""
    rows = [headings, ["--:"] * len(headings), *lines]
    rows[1] = [":--", *rows[1][1:]]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def per_case(cases: dict[Case, Rows], methods: Sequence[str], before: dict[str, Callable[[Rows], str]],
             cell: Callable[[Score], str]) -> str:
    """A table of one line per case: what `before` tells of it, then `cell` of each method."""
    return table(["case", *before, *methods],
                 [[f"{case.volume}, {case.slices}", *(tell(rows) for tell in before.values()),
                   *(cell(Score.of(rows, name)) if name in rows else "" for name in methods)]
                  for case, rows in cases.items()])


def summary(cases: dict[Case, Rows], ours: Sequence[str]) -> str:
    """The figures that the targets are stated for: one line per preset and group of cases."""
    lines = []
    for group in dict.fromkeys(case.group for case in cases):
        some = [rows for case, rows in cases.items() if case.group == group]
        for name in ours:
            scores = [Score.of(rows, name) for rows in some]

            def over(pick: Callable[[Score], float | None], reduce: Callable[[Iterable[float]], float], form: str,
                     scores: list[Score] = scores) -> str:
                values = [value for value in map(pick, scores) if value is not None]
                return number(reduce(values) if values else None, form)

            lines.append([
                f"{group}, {name}", str(len(scores)), over(lambda s: s.gain, mean, "+.2f"),
                over(lambda s: s.gain >= ENOUGH, mean, ".0%"), over(lambda s: s.gain, min, "+.2f"),
                over(lambda s: s.ssim_gain, min, "+.4f"), over(lambda s: s.ratio, mean, ".3f"),
                over(lambda s: s.dice_gain, min, "+.4f"), over(lambda s: s.band, mean, ".0%"),
                over(lambda s: s.correlation, mean, ".2f"), over(lambda s: s.seconds, mean, ".1f")])
    return table(["", "cases", "mean gain, dB", f"gain >= {ENOUGH} dB", "worst gain, dB", "worst SSIM gain",
                  "mean label error ratio", "worst Dice difference", "in the 68 % band", "rank correlation", "mean s"],
                 lines)


def markdown(cases: dict[Case, Rows], ours: Sequence[str], peers: Sequence[str]) -> str:
    """All tables, the summary first."""
    labelled = {case: rows for case, rows in cases.items() if best_dice(rows) is not None}
    compared = {case: rows for case, rows in cases.items() if any(name in rows for name in peers)}
    parts = ["Over all cases:\n", summary(cases, ours),
             "PSNR in dB (gain over the best of nearest, linear, cubic, pchip and TV-L1 flow):\n",
             per_case(cases, ours, {"linear, cubic, pchip": lambda rows: number(highest(rows, SIMPLE, "psnr"), ".2f"),
                                    "TV-L1 flow": lambda rows: number(highest(rows, ["flow"], "psnr"), ".2f")},
                      lambda s: f"{s.psnr:.2f} ({s.gain:+.2f})"),
             "SSIM (gain over the best of the same):\n",
             per_case(cases, ours, {"classical": lambda rows: number(highest(rows, CLASSICAL, "ssim"), ".4f")},
                      lambda s: f"{s.ssim:.4f} ({s.ssim_gain:+.4f})")]
    if labelled:
        parts += ["Dice (label error ratio: 1 - Dice over 1 - that of the best classical method for labels):\n",
                  per_case(labelled, ours, {"labels": labels_counted,
                                            "nearest, shape, contour": lambda rows: number(best_dice(rows), ".4f")},
                           lambda s: f"{number(s.dice, '.4f')} ({number(s.ratio, '.3f')})")]
    parts += ["The expected error: share of voxels inside its 68 % band, rank correlation with the real error:\n",
              per_case(cases, ours, {}, lambda s: f"{number(s.band, '.0%')}, {number(s.correlation, '.2f')}"),
              "Seconds and MB of host memory:\n",
              per_case(cases, ours, {}, lambda s: f"{s.seconds:.1f}, {number(s.megabytes, '.0f')}")]
    if compared:
        parts += ["Beside learned and optimising peers: PSNR in dB, SSIM, seconds:\n",
                  per_case(compared, [*ours, *peers], {}, lambda s: f"{s.psnr:.2f}, {s.ssim:.4f}, {s.seconds:.1f}")]
    return "\n".join(parts)


def labels_counted(rows: Rows) -> str:
    """How many labels are large enough for their Dice to count."""
    segments = next(row["segments"] for row in rows.values() if row["segments"])
    return str(sum(segment["dice"] is not None for segment in segments))


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--figures", type=Path, help="a folder for the figure of each case")
    parser.add_argument("--cases", nargs="+", type=Case.parse, default=[Case.parse(text) for text in CASES],
                        metavar="NAME:K")
    parser.add_argument("--ours", type=names, help="the presets that are compared with the classical methods",
                        default=[name for name, preset in PRESETS.items() if not preset.for_comparison])
    parser.add_argument("--peers", type=names, default=[], help="innergs-style, eclare or both")
    parser.add_argument("--eclare-python")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(argv)
    for folder in (args.work, args.figures):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
    if absent := {case.name for case in args.cases if found(args.data, case.name) is None}:
        sys.exit(f"'{args.data}' has neither .nii.gz nor .npz of {', '.join(sorted(absent))}.")
    cases = {case: rows_of(case, args) for case in args.cases}
    complete = {case: rows for case, rows in cases.items() if {*CLASSICAL, *args.ours} <= set(rows)}
    if complete:
        text = markdown(complete, args.ours, args.peers)
        print(text)
        if args.table:
            args.table.write_text(text, encoding="utf-8")
    if len(complete) < len(cases):
        sys.exit(f"Left out, since a method failed: {', '.join(c.file for c in cases if c not in complete)}.")


if __name__ == "__main__":
    main()
