"""Part of `ablation.py`: what the trainings came to, as tables and as curves."""
from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Run = dict[str, Any]  # a line of the file, see `ablation.py`


@dataclass(frozen=True)
class Outcome:
    """What a variant came to on a volume.

    Attributes:
        last: (seed,) dB after all steps.
        stopped: (seed,) dB after as many steps as the slices hidden among the used ones ask for; NaN if none were.
        linear: dB of linear interpolation.
        seconds: Of a training, on average.
    """

    last: np.ndarray
    stopped: np.ndarray
    linear: float
    seconds: float

    @classmethod
    def of(cls, runs: Sequence[Run], choosing: Sequence[Run]) -> Outcome:
        """Put together runs that differ in their seeds alone."""
        runs = sorted(runs, key=lambda run: run["seed"])
        stop = steps_to_stop(choosing[0]["curve"]) if choosing else None
        stopped = [{step: psnr for step, psnr, _ in run["curve"]}.get(stop, np.nan) for run in runs]
        return cls(np.array([run["curve"][-1][1] for run in runs]), np.array(stopped), runs[0]["linear"],
                   float(np.mean([run["seconds"] for run in runs])))


def steps_to_stop(curve: Sequence[Sequence[float]]) -> int:
    """After how many steps the slices that were hidden to know it are filled best; curve: [steps, hidden dB, used dB].

    Example:
        >>> steps_to_stop([[10, 20.0, 25.0], [50, 21.0, 35.0], [90, 20.5, 50.0]])
        50
    """
    return int(max(curve, key=lambda point: point[1])[0])


def outcomes(runs: Sequence[Run]) -> dict[float, dict[str, dict[str, Outcome]]]:
    """What each variant came to: share of slices -> variant -> volume."""
    grouped: dict[tuple[float, str, str, bool], list[Run]] = defaultdict(list)
    for run in runs:
        grouped[run["keep"], run["variant"], run["volume"], run["choosing"]].append(run)
    result: dict[float, dict[str, dict[str, Outcome]]] = defaultdict(lambda: defaultdict(dict))
    for (keep, variant, volume, choosing), some in grouped.items():
        if not choosing:
            result[keep][variant][volume] = Outcome.of(some, grouped.get((keep, variant, volume, True), []))
    return result


def table(keep: float, found: dict[str, dict[str, Outcome]]) -> str:
    """A table in Markdown: a row for each variant; the mean is told where there is one for every volume."""
    volumes = sorted({volume for row in found.values() for volume in row})
    linear = {volume: row[volume].linear for row in found.values() for volume in row}
    lines = [f"| kept: {keep:g} | " + " | ".join(volumes) + " | mean | - own preset | mean, stopped | s |",
             "|:--|" + "--:|" * (len(volumes) + 4),
             "| linear | " + " | ".join(f"{linear[volume]:.2f}" for volume in volumes)
             + f" | {np.mean(list(linear.values())):.2f} | | | |"]
    for variant, row in found.items():
        base = found.get(variant.partition(":")[0], {})
        cells = [_cell(row[volume].last) if volume in row else "" for volume in volumes]
        mean, stopped = ((np.mean([getattr(row[v], name).mean() for v in volumes]) if len(row) == len(volumes)
                          else np.nan) for name in ("last", "stopped"))
        seconds = np.mean([outcome.seconds for outcome in row.values()])
        cells += ["" if np.isnan(mean) else f"{mean:.2f}", _difference(row, base) if row is not base else "",
                  "" if np.isnan(stopped) else f"{stopped:.2f}", f"{seconds:.0f}"]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: np.ndarray) -> str:
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def _difference(row: dict[str, Outcome], base: dict[str, Outcome]) -> str:
    """Mean over the volumes that both have, and the standard deviation over seeds that both have."""
    pairs = [(row[volume].last, base[volume].last) for volume in row if volume in base]
    if not pairs:
        return ""
    seeds = min(len(values) for pair in pairs for values in pair)
    return _cell(np.mean([one[:seeds] - other[:seeds] for one, other in pairs], axis=0))


def read(path: Path) -> list[Run]:
    """Read the file that `ablation.py` writes."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def print_tables(path: Path) -> None:
    """Print a table for each share of the slices."""
    for keep, found in sorted(outcomes(read(path)).items(), reverse=True):
        print(table(keep, found) + "\n")


def draw_curves(path: Path, picture: Path, variants: Sequence[str]) -> None:
    """Draw how trainings go: hidden slices as lines, used ones dotted, a panel for each volume."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    runs = [run for run in read(path) if not run["choosing"] and run["seed"] == 0 and run["variant"] in variants]
    keep = max(run["keep"] for run in runs)
    runs = [run for run in runs if run["keep"] == keep]
    volumes = sorted({run["volume"] for run in runs})
    figure, axes = plt.subplots(1, len(volumes), figsize=(4.2 * len(volumes), 3.4), squeeze=False)
    for panel, volume in zip(axes[0], volumes, strict=True):
        for number, variant in enumerate(variants):
            for run in (run for run in runs if run["volume"] == volume and run["variant"] == variant):
                steps, hidden, used = np.array(run["curve"]).T
                panel.semilogx(steps, hidden, color=f"C{number}", label=variant)
                panel.semilogx(steps, used, ":", color=f"C{number}")
                panel.axhline(run["linear"], color="0.6", linewidth=0.8)
        panel.set(title=volume, xlabel="steps", ylabel="PSNR (dB)", ylim=(15, 45))
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
