#!/usr/bin/env python3
"""Run `evaluate` on a folder of volumes and write one table of all cases.

    quality.py DATA_FOLDER --work OUT_FOLDER --table docs/quality.md [--cases NAME:K ...] [--methods fast,...]

Every case is one call of the command line with `--json`; results that are in OUT_FOLDER already are not run again.
Labels are taken from NAME_seg.nii.gz where that exists.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean

THIN = ("us_brain_resect3", "mr_brain_t1_chris", "mr_fetal_atlas_ga30", "ct_chest_1mm", "ct_abdomen_totalseg",
        "ct_spine_lumbar", "mr_heart_la_a", "mr_brain_t1_aseg")
THICK = ("ct_spleen_thick5", "mr_heart_acdc081", "mr_prostate_t2", "mr_fetal_stack1", "mr_fetal_stack3",
         "mr_fetal_stack5", "mr_brain_glioma_t1")
CASES = [f"{name}:{step}" for name in THIN for step in (4, 2)] + [f"{name}:2" for name in THICK]
SIMPLE = ("linear", "cubic", "pchip")
CLASSICAL = ("nearest", *SIMPLE, "flow")


def run(case: str, data: Path, work: Path, methods: str) -> dict:
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


def row(case: str, report: dict, ours: str) -> dict:
    """The figures of one case: ours, the best simple interpolator, flow, and the best label method."""
    rows = {entry["method"]: entry for entry in report["rows"]}
    mine = rows[ours]
    best = max(rows[m]["psnr"] for m in CLASSICAL if m in rows)
    simple = max(rows[m]["psnr"] for m in SIMPLE if m in rows)
    figures = {"case": case.replace(":", ", k="), "simple": simple, "flow": rows["flow"]["psnr"], "psnr": mine["psnr"],
               "gain": mine["psnr"] - best, "over_simple": mine["psnr"] - simple, "ssim": mine["ssim"],
               "ssim_gain": mine["ssim"] - max(rows[m]["ssim"] for m in CLASSICAL if m in rows),
               "over_flow": mine["psnr"] - rows["flow"]["psnr"], "seconds": mine["seconds"],
               "memory": mine["peak_memory_mb"], "dice": None, "label_best": None, "ratio": None}
    dices = [rows[m]["dice"] for m in rows if m.startswith("label-") and rows[m].get("dice") is not None]
    if dices and mine.get("dice") is not None:
        figures.update(dice=mine["dice"], label_best=max(dices), ratio=(1 - mine["dice"]) / (1 - max(dices)))
    return figures


def markdown(rows: list[dict], ours: str) -> str:
    """The table, with the means that the targets are stated for."""
    def number(value: float | None, digits: int, sign: str = "") -> str:
        return "" if value is None else f"{value:{sign}.{digits}f}"

    lines = [f"| case | linear/cubic/pchip, best | TV-L1 flow | {ours} | gain | SSIM | SSIM gain | Dice | best label method "
             "| error ratio | s | MB |", "|" + "---|" * 12]
    for r in rows:
        lines.append("| " + " | ".join((
            r["case"], number(r["simple"], 2), number(r["flow"], 2), number(r["psnr"], 2), number(r["gain"], 2, "+"),
            number(r["ssim"], 4), number(r["ssim_gain"], 4, "+"), number(r["dice"], 4), number(r["label_best"], 4),
            number(r["ratio"], 3), number(r["seconds"], 0), number(r["memory"], 0))) + " |")
    ratios = [r["ratio"] for r in rows if r["ratio"] is not None]
    lines += ["", f"Mean gain over the best of nearest, linear, cubic, pchip and flow: {mean(r['gain'] for r in rows):+.2f} "
                  f"dB; mean over flow: {mean(r['over_flow'] for r in rows):+.2f} dB; worst against the best of linear, "
                  f"cubic and pchip: {min(r['over_simple'] for r in rows):+.2f} dB."]
    if ratios:
        lines.append(f"Mean label error ratio (1 - Dice) / (1 - best of nearest, shape, contour): {mean(ratios):.3f} over "
                     f"{len(ratios)} cases.")
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
    table = markdown([row(case, run(case, args.data, args.work, methods), args.ours) for case in args.cases], args.ours)
    print(table)
    if args.table:
        args.table.write_text(table)


if __name__ == "__main__":
    main()
