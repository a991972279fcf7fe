#!/usr/bin/env python3
"""Run `evaluate` on a folder of volumes and write one table of all cases.

    quality.py DATA_FOLDER --work OUT_FOLDER --table docs/quality.md [--cases NAME:K ...] [--ours fast]

Every case is one call of the command line with `--json`; results that are in OUT_FOLDER already are not run again.
Labels are taken from NAME_seg.nii.gz where that exists.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

THIN = ("us_brain_resect3", "mr_brain_t1_chris", "mr_fetal_atlas_ga30", "ct_chest_1mm", "ct_abdomen_totalseg",
        "ct_spine_lumbar", "mr_heart_la_a", "mr_brain_t1_aseg")
THICK = ("ct_spleen_thick5", "mr_heart_acdc081", "mr_prostate_t2", "mr_fetal_stack1", "mr_fetal_stack3",
         "mr_fetal_stack5", "mr_brain_glioma_t1")
CASES = [f"{name}:{step}" for name in THIN for step in (4, 2)] + [f"{name}:2" for name in THICK]
SIMPLE = ("linear", "cubic", "pchip")
CLASSICAL = ("nearest", *SIMPLE, "flow")


def run(case: str, data: Path, work: Path, methods: str) -> dict[str, Any]:
    """Evaluate one case with the command line, or read its result; return the report."""
    name, step = case.split(":")
    target = work / f"{name}_{step}.json"
    if not target.exists():
        command = [sys.executable, "-m", "TriplaneGaussianReconLib", "evaluate", str(data / f"{name}.nii.gz"),
                   "--axis", "k", "--keep-every", step, "--methods", methods, "--json", str(target)]
        labels = data / f"{name}_seg.nii.gz"
        if labels.exists():
            command += ["--labels", str(labels)]
            command[command.index("--methods") + 1] += ",label-nearest,label-shape,label-contour"
        print("evaluating", case, file=sys.stderr, flush=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(target.read_text())


@dataclass(frozen=True)
class Figures:
    """What one case comes to; labels are None where there are none."""

    case: str
    simple: float  # best PSNR of linear, cubic and pchip, dB
    flow: float
    psnr: float
    best: float  # of all classical methods
    ssim: float
    best_ssim: float
    dice: float | None
    best_dice: float | None
    seconds: float
    megabytes: float

    @property
    def ratio(self) -> float | None:
        """Label error against the best classical method's."""
        if self.dice is None or self.best_dice is None:
            return None
        return (1 - self.dice) / (1 - self.best_dice)


def figures(case: str, report: dict[str, Any], ours: str) -> Figures:
    """Gather the figures of one case."""
    rows = {entry["name"]: entry for entry in report["rows"] if entry["failure"] is None}
    psnr = {name: rows[name]["image"]["psnr"] for name in (*CLASSICAL, ours)}
    ssim = {name: rows[name]["image"]["ssim"] for name in (*CLASSICAL, ours)}
    dice = [entry["dice"] for name, entry in rows.items() if name.startswith("label-") and entry["dice"] is not None]
    return Figures(case.replace(":", ", k="), max(psnr[m] for m in SIMPLE), psnr["flow"], psnr[ours],
                   max(psnr[m] for m in CLASSICAL), ssim[ours], max(ssim[m] for m in CLASSICAL), rows[ours]["dice"],
                   max(dice, default=None), rows[ours]["seconds"], rows[ours]["peak_memory_bytes"] / 1e6)


def markdown(cases: list[Figures], ours: str) -> str:
    """The table, with the means that the targets are stated for."""
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    headings = ("case", "best of linear, cubic, pchip", "TV-L1 flow", ours, "gain", "SSIM", "SSIM gain", "Dice",
                "best label method", "error ratio", "s", "MB")
    lines = ["| " + " | ".join(headings) + " |", "|" + ":--|" + "--:|" * (len(headings) - 1)]
    for c in cases:
        lines.append("| " + " | ".join((
            c.case, number(c.simple, ".2f"), number(c.flow, ".2f"), number(c.psnr, ".2f"),
            number(c.psnr - c.best, "+.2f"), number(c.ssim, ".4f"), number(c.ssim - c.best_ssim, "+.4f"),
            number(c.dice, ".4f"), number(c.best_dice, ".4f"), number(c.ratio, ".3f"), number(c.seconds, ".0f"),
            number(c.megabytes, ".0f"))) + " |")
    lines += ["", "- Gain over the best of nearest, linear, cubic, pchip and flow: "
              f"{mean(c.psnr - c.best for c in cases):+.2f} dB on average.",
              f"- Over TV-L1 flow: {mean(c.psnr - c.flow for c in cases):+.2f} dB on average.",
              "- Worst case against the best of linear, cubic and pchip: "
              f"{min(c.psnr - c.simple for c in cases):+.2f} dB."]
    ratios = [c.ratio for c in cases if c.ratio is not None]
    if ratios:
        lines.append("- Label error ratio, (1 - Dice) / (1 - best of nearest, shape and contour): "
                     f"{mean(ratios):.3f} on average over {len(ratios)} cases.")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="NAME:K")
    parser.add_argument("--ours", default="fast", help="the preset that is compared with the classical methods")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    methods = ",".join((*CLASSICAL, args.ours))
    table = markdown([figures(case, run(case, args.data, args.work, methods), args.ours) for case in args.cases],
                     args.ours)
    print(table)
    if args.table:
        args.table.write_text(table)


if __name__ == "__main__":
    main()
