"""Fitting slab after slab."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch

from ..data.slabs import HALO, Slab
from ..errors import TooLargeError
from ..gaussians.cloud import GaussianParameters
from ..prediction.predict import Prediction
from ..rendering.renderer import Renderer
from ..runtime.devices import SelectedDevice
from ..runtime.memory import with_less_memory
from ..runtime.progress import StageMonitor
from .refine import refine
from .slab import FittedSlab, PreparedSlab
from .task import Task
from .train import train


class Fitting:
    """Fits one slab after another.  A slab that does not fit into memory is halved; at last the CPU takes over.

    Attributes:
        task: What is the same for all slabs.
        slabs: The slabs in turn, which may become more and smaller.
        chosen: The device, which may become the CPU.
        notes: What a user should know about this.
    """

    def __init__(self, task: Task, slabs: list[Slab], chosen: SelectedDevice, may_leave_device: bool,
                 monitor: StageMonitor) -> None:
        self.task, self.slabs, self.chosen, self.notes = task, slabs, chosen, list[str]()
        self._may_leave_device, self._monitor = may_leave_device, monitor
        self._predictions: dict[int, Prediction] = {}  # by gap, those that the next slab needs too

    def fitted(self) -> Iterator[FittedSlab]:
        """Fit the slabs in turn."""
        number, results = 0, list[FittedSlab]()
        while number < len(self.slabs):
            if self._attempt(number, lambda n: results.append(self._fit(n))):
                yield results.pop()
                number += 1

    @property
    def renderer(self) -> Renderer:
        """How Gaussians are drawn while they are fitted."""
        preset, channels = self.task.preset, self.task.channels
        return Renderer(preset.mode, preset.cutoff, self.chosen.backend, channels.count if self.task.is_semantic else 1)

    def _attempt(self, number: int, work: Callable[[int], None]) -> bool:
        """Work on a slab; where memory does not suffice, make the work smaller and return False."""
        def succeed() -> bool:
            work(number)
            return True

        def make_room() -> bool:
            self._predictions = {}  # they may be on another device
            self._make_room(number)
            return False

        return with_less_memory(succeed, make_room, self.chosen.device)

    def _make_room(self, number: int) -> None:
        slab, on_gpu = self.slabs[number], self.chosen.device.type == "cuda"
        halves = slab.halves() if self.task.can_be_cut else [slab]
        if len(halves) > 1:
            self.slabs[number:number + 1] = halves
            note = f"Memory did not suffice for {slab.stop - slab.first} gaps at a time; went on with half as many."
        elif on_gpu and self._may_leave_device:
            self.chosen = SelectedDevice("cpu", torch.device("cpu"), "CPU: the GPU has too little memory.")
            note = "The GPU has too little memory for this volume; went on with the CPU."
        else:
            remedy = "use device 'cpu', or crop" if on_gpu else "close other programs, or crop"
            cut = "" if self.task.can_be_cut else f" (the preset '{self.task.preset.name}' cannot be split)"
            raise TooLargeError(f"There is not enough memory for this volume{cut}: {remedy} it to the part that "
                                "matters.")
        self.notes.append(note)
        warnings.warn(note, RuntimeWarning, stacklevel=2)

    def _fit(self, number: int) -> FittedSlab:
        """Predict, place Gaussians, train what has a learning rate, and refine."""
        slab = self.slabs[number]
        prepared = PreparedSlab.of(self.task, slab, self._predictions, self.chosen.device,
                                   lambda stage: self._monitor.stage(stage, number, len(self.slabs)))
        known = prepared.by_gap()
        self._predictions = {gap: known[gap] for gap in known if gap >= slab.stop - HALO}
        fitted = self._trained(prepared) if self.task.preset.training.steps else prepared.start
        with self._monitor.stage("refinement", number, len(self.slabs)) as tick:
            if steps := self.task.preset.refinement_steps:
                fitted = refine(fitted, prepared.wanted(), self.renderer, steps, tick)
            return prepared.finished(fitted, self.renderer)

    def _trained(self, prepared: PreparedSlab) -> GaussianParameters:
        """Train everything that has a learning rate, the tri-plane field included."""
        preset, start = self.task.preset, prepared.start
        with self._monitor.stage("training") as tick:
            trained = train(start if self.task.is_semantic else start.image_only(),
                            self.task.initial_field().to(self.chosen.device), prepared.targets(), self.renderer,
                            preset.training, preset.triplane.total_variation, self.task.observed.pixel, tick,
                            self.task.seed)
        return trained if self.task.is_semantic else trained.with_labels_of(start)
