"""Makes the surfaces of a segmentation in a process of its own, and gives them to it, while the application goes on."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import Cancelled, ReconstructionError

from ..scene.surfaces import CLOSED_SURFACE, canBeMadeElsewhere, giveSurfaces, labelsOf, stateOf, surfaceFrom
from .python_process import PythonProcess, SingleShot
from .steps import Pause, Steps
from .surface_worker import NO_SLICER

_TRIANGLES_AT_A_TIME = 250_000  # that views prepare for drawing before the user interface has its turn
_DRAWING_MILLISECONDS = 25  # until views have begun to draw what they were told to: they do so sixty times a second
_SLOW_SECONDS = 0.2  # where drawing itself takes so long, a few at a time are of no use
_WORKER = str(Path(__file__).with_name("surface_worker.py"))


class SurfaceMaking:
    """Makes surfaces, of one segmentation at a time.

    Attributes:
        node: Of which they are being made; None while none are.
    """

    def __init__(self, onProgress: Callable[[int, int], None], onEnd: Callable[[Exception | None], None],
                 python: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Prepare to make some.

        Args:
            onProgress: Called with how many segments have their surface, and how many there are.
            onEnd: Called once for each start, with None or what went wrong: Cancelled where that was asked for, or the
                node was removed.
            python: See `PythonProcess`.
            environment: See `PythonProcess`.
        """
        self._onProgress, self._tellEnd = onProgress, onEnd
        self._process = PythonProcess(self._onLine, self._onProcessEnd, python, environment)
        self._steps: Steps | None = None
        self._drawing = SingleShot(_DRAWING_MILLISECONDS, self._resume)
        self._made: set[int] = set()  # numbers of segments
        self._hasEnded, self._problem = False, ""  # the process
        self.node: slicer.vtkMRMLSegmentationNode | None = None

    def start(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Start; returns at once."""
        self.node = node
        self._steps = Steps(self._work(node), self._end)
        self._steps.start()

    def cancel(self) -> None:
        """End it, if there is anything to end; the segmentation is without surfaces then."""
        if self._steps is not None:
            self._steps.abort(Cancelled(_("The surfaces are not made any more.")))

    def _work(self, node: slicer.vtkMRMLSegmentationNode) -> Generator[Any, None, None]:
        segmentation = node.GetSegmentation()
        if not canBeMadeElsewhere(segmentation):
            segmentation.CreateRepresentation(CLOSED_SURFACE)
            return
        state: tuple[object, ...] = ()
        while state != stateOf(node.GetSegmentation()):  # again, where somebody has drawn meanwhile
            segmentation = node.GetSegmentation()
            segmentation.RemoveRepresentation(CLOSED_SURFACE)
            state = stateOf(segmentation)
            surfaces = yield from self._surfaces(node)
            if surfaces is None:
                segmentation.CreateRepresentation(CLOSED_SURFACE)
                return
            if state == stateOf(node.GetSegmentation()):
                yield from self._shown(node, surfaces)

    def _shown(self, node: slicer.vtkMRMLSegmentationNode, surfaces: Mapping[str, Any]) -> Generator[Any, None, None]:
        """Give the segments their surfaces, and show a few at a time those that are visible: the first time that a view
        draws a surface takes far longer than later.
        """
        display = node.GetDisplayNode()
        visible = [name for name in surfaces if display is not None and display.GetSegmentVisibility3D(name)]
        try:
            _setVisible(display, visible, False)
            giveSurfaces(node, surfaces)
            for names in _fewAtATime(visible, surfaces):
                start = time.monotonic()
                _setVisible(display, names, True)
                self._drawing.start()
                yield Pause.UNTIL_RESUMED
                if time.monotonic() - start > _SLOW_SECONDS:
                    break
        finally:
            self._drawing.stop()
            _setVisible(display, visible, True)

    def _surfaces(self, node: slicer.vtkMRMLSegmentationNode) -> Generator[Any, None, dict[str, Any] | None]:
        """The surfaces by the identifiers of segments; None where the process cannot make any on this computer."""
        segmentation, surfaces = node.GetSegmentation(), {}
        with TemporaryDirectory(prefix="TriplaneGaussianRecon-", dir=slicer.app.temporaryPath,
                                ignore_cleanup_errors=True) as folder:
            try:
                names = segmentation.GetSegmentIDs()
                yield from labelsOf(segmentation, Path(folder))
                self._made, self._hasEnded, self._problem = set(), False, ""
                self._process.start([_WORKER, folder])
                for number, name in enumerate(names):
                    while number not in self._made and not self._hasEnded:
                        yield Pause.UNTIL_RESUMED
                    if node.GetScene() is None:
                        raise Cancelled(_("The segmentation was removed meanwhile."))
                    if number not in self._made:
                        if self._process.exitCode == NO_SLICER:
                            logging.warning("Surfaces are made by the application itself: %s", self._process.log)
                            return None
                        raise ReconstructionError(self._problem)
                    self._onProgress(number, len(names))
                    surfaces[name] = yield from surfaceFrom(Path(folder), number)
                while not self._hasEnded:  # nothing is left to do but to end
                    yield Pause.UNTIL_RESUMED
            finally:
                self._process.kill()
        return surfaces

    def _onLine(self, line: bytes) -> None:
        try:
            self._made.add(int(line))
        except ValueError:
            self._process.keep(line)
        else:
            self._resume()

    def _onProcessEnd(self, problem: str) -> None:
        lines = self._process.log.strip().splitlines()
        self._problem = problem or (lines[-1] if lines else _("The surfaces could not be made."))
        self._hasEnded = True
        self._resume()

    def _resume(self) -> None:
        if self._steps is not None:
            self._steps.resume()

    def _end(self, result: None, error: Exception | None) -> None:
        node, self.node, self._steps = self.node, None, None
        if error is not None and node is not None and node.GetScene() is not None:
            node.GetSegmentation().RemoveRepresentation(CLOSED_SURFACE)
        self._tellEnd(error)


def _setVisible(display: slicer.vtkMRMLSegmentationDisplayNode | None, names: Sequence[str], isVisible: bool) -> None:
    """Show segments in the 3D view, or hide them there."""
    if display is not None and names:
        with slicer.util.NodeModify(display):
            for name in names:
                display.SetSegmentVisibility3D(name, isVisible)


def _fewAtATime(names: Sequence[str], surfaces: Mapping[str, Any]) -> Iterator[list[str]]:
    """The names in lists, each of surfaces with not too many triangles together."""
    few, triangles = list[str](), 0
    for name in names:
        few.append(name)
        triangles += surfaces[name].GetNumberOfPolys()
        if triangles >= _TRIANGLES_AT_A_TIME:
            yield few
            few, triangles = [], 0
    if few:
        yield few
