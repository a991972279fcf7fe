#!/usr/bin/env python3
"""Measure what 3D Slicer's users notice of the module: on a real MRML scene, with the real worker, no application.

    slicer_module.py VOLUME --labels LABELS [--keep-every 4] [--preset fast] [--runs 100]

Prints how long importing the module takes, how long the thread of the user interface is blocked at most, what module
and process add to the library's own seconds, how soon a cancelled run has ended and whether the scene is as it was, and
what many small runs leave behind.  `qt` and the application are the stand-ins of the tests.
"""
from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "TriplaneGaussianRecon"), str(ROOT / "Testing" / "Python" / "support")]
HEAVY = ("torch", "numba", "scipy", "cv2", "SimpleITK")
SMALL = (8, 20, 24)  # voxels of the small runs
BEAT_MILLISECONDS = 2

_IMPORT = f"""
import sys, time
sys.path[:0] = {sys.path[:3]!r}
from slicer_stand_ins import install
install()
import slicer, vtk, qt, slicer.ScriptedLoadableModule
sys.modules["numpy"] = None  # to import it would be an error
start = time.perf_counter()
import TriplaneGaussianRecon
print(time.perf_counter() - start, *(name for name in {HEAVY!r} if name in sys.modules))
"""


class Heart:
    """Beats in the event loop; `longest` is the longest time between two beats, in seconds."""

    def __init__(self) -> None:
        import qt

        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = qt.QTimer()
        self._timer.setInterval(BEAT_MILLISECONDS)
        self._timer.connect("timeout()", self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now

    def stop(self) -> None:
        """Beat no more."""
        self._timer.stop()


class Bench:
    """A scene, and the module's logic over the real worker."""

    def __init__(self, scene: Any) -> None:
        from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
        from TriplaneGaussianReconModule.run.process import WorkerProcess

        self.scene, self.logic = scene, TriplaneGaussianReconLogic(WorkerProcess(sys.executable))

    def load(self, volume: Path, labels: Path | None) -> tuple[Any, Any]:
        """Put a scan and its segments into the scene."""
        import mrml
        import numpy as np

        from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation

        image = read_image(volume)
        matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.grid.ijk_to_lps
        node, masks = mrml.add_volume(image.array, matrix, image_name(volume)), dict[str, Any]()
        if labels is None:
            return node, None
        segmentation = read_segmentation(labels)
        for number, mask in segmentation.masks():
            masks[f"Segment_{number}"] = mask
        return node, mrml.add_segmentation(node, masks)

    def run(self, volume: Any, segmentation: Any, observed: str, preset: str,
            on_progress: Callable[[dict[str, Any]], None] = lambda message: None) -> tuple[Any, float, float]:
        """Results (None if cancelled), seconds, and the longest block of the event loop in seconds."""
        heart, start = Heart(), time.perf_counter()
        results = self.logic.reconstruct(volume, segmentation, trustedSlices=observed, preset=preset, device="cpu",
                                         progressCallback=on_progress)
        heart.stop()
        return results, time.perf_counter() - start, heart.longest


def image_name(path: Path) -> str:
    """A file's name without its endings."""
    return path.name.partition(".")[0]


def measure_import() -> None:
    """Print what importing the module file takes in fresh processes, and what heavy packages that brings."""
    times, heavy = [], set[str]()
    for _ in range(5):
        out = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True).stdout.split()
        times.append(float(out[0]))
        heavy |= set(out[1:])
    print(f"import of the module: median {sorted(times)[2]:.2f} s, of heavy packages: {', '.join(heavy) or 'none'}")


def measure_run(bench: Bench, volume: Any, segmentation: Any, observed: str, preset: str) -> None:
    """Print seconds and the longest block of a whole run."""
    import json

    results, seconds, longest = bench.run(volume, segmentation, observed, preset)
    text = results.provenance.GetText()
    library = sum(json.loads(text[text.index("{"):])["reports"][0]["seconds"].values())
    count = segmentation.GetSegmentation().GetNumberOfSegments() if segmentation else 0
    print(f"{volume.GetName()}, {count} segments, {preset}: {seconds:.1f} s, of which the library's stages "
          f"{library:.1f} s, all else {seconds - library:.1f} s; longest block {1000 * longest:.0f} ms")
    bench.logic.undo(results)


def measure_cancel(bench: Bench, volume: Any, segmentation: Any, observed: str, preset: str) -> None:
    """Print how soon runs that are cancelled in each stage have ended, and whether the scene is as it was."""
    import mrml

    from TriplaneGaussianReconLib.config.stages import STAGES

    before, worst, unchanged = mrml.fingerprint(bench.scene), (0.0, ""), True
    for stage in STAGES:
        asked: list[float] = []

        def cancel(message: dict[str, Any], wanted: str = stage, asked: list[float] = asked) -> None:
            if message.get("stage") == wanted and not asked:
                asked.append(time.perf_counter())
                bench.logic.cancel()

        results, _, _ = bench.run(volume, segmentation, observed, preset, cancel)
        if results is None:
            worst = max(worst, (time.perf_counter() - asked[0], stage))
            unchanged &= mrml.fingerprint(bench.scene) == before
        else:
            bench.logic.undo(results)
    print(f"cancelled in each stage: ended after {worst[0]:.2f} s at most ({worst[1]}), "
          f"scene {'as it was' if unchanged else 'CHANGED'}")


def measure_leaks(bench: Bench, runs: int, folder: Path) -> None:
    """Print what this process holds after some of many small runs."""
    import mrml
    import numpy as np
    import psutil

    voxels = np.random.default_rng(0).integers(0, 1000, SMALL).astype(np.int16)
    volume = mrml.add_volume(voxels)
    segmentation, this = mrml.add_segmentation(volume, {"half": voxels > 500}), psutil.Process()
    print(f"{'runs':>5} {'nodes':>6} {'files':>6} {'children':>9} {'descriptors':>12} {'threads':>8} {'MB':>6}")
    for number in range(runs + 1):
        if number % max(runs // 10, 1) == 0:
            print(f"{number:5} {bench.scene.GetNumberOfNodes():6} {len(list(folder.rglob('*'))):6} "
                  f"{len(this.children(recursive=True)):9} {this.num_fds():12} {this.num_threads():8} "
                  f"{this.memory_info().rss / 1e6:6.0f}", flush=True)
        if number < runs:
            bench.logic.undo(bench.run(volume, segmentation, "every:2", "fast")[0])


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--keep-every", type=int, default=4)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--runs", type=int, default=100)
    args = parser.parse_args()
    measure_import()
    import pytest
    from slicer_stand_ins import install

    install()
    import mrml
    from PySide6.QtWidgets import QApplication

    application = QApplication.instance() or QApplication([])
    with (tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch,
          mrml.opened_scene(Path(name), patch) as scene):
        bench, observed = Bench(scene), f"every:{args.keep_every}"
        volume, segmentation = bench.load(args.volume, args.labels)
        measure_run(bench, volume, segmentation, observed, args.preset)
        measure_cancel(bench, volume, segmentation, observed, args.preset)
        measure_leaks(bench, args.runs, Path(name))
    application.quit()


if __name__ == "__main__":
    main()
