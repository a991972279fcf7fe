"""Fitting slab after slab; the tri-plane field, which is global, is trained on all slabs together."""
from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator

import torch

from ..data.slabs import Slab
from ..errors import TooLargeError
from ..gaussians.cloud import GaussianParameters
from ..rendering.renderer import Renderer
from ..runtime.devices import SelectedDevice
from ..runtime.memory import with_less_memory
from ..runtime.progress import StageMonitor
from ..self_supervised.optimizers import Adam, Plateau
from .refine import refine
from .slab import FittedSlab, PreparedSlab
from .task import Task
from .train import planes_loss, train


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
        self._field = task.initial_field()
        self._trained: tuple[PreparedSlab, GaussianParameters] | None = None  # where there is one slab
        self._sweeps, self._sweep = 1, 0

    def train(self) -> None:
        """Train the tri-plane field, and what else has a learning rate."""
        while len(self.slabs) == 1:
            if self._attempt(0, self._train_whole):
                return
        self._train_field()

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
            self._trained = None  # of no use in halves, or on another device
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
            self._field.to("cpu")
            note = "The GPU has too little memory for this volume; went on with the CPU."
        else:
            remedy = "use device 'cpu', or crop" if on_gpu else "close other programs, or crop"
            cut = "" if self.task.can_be_cut else f" (the preset '{self.task.preset.name}' cannot be split)"
            raise TooLargeError(f"There is not enough memory for this volume{cut}: {remedy} it to the part that "
                                "matters.")
        self.notes.append(note)
        warnings.warn(note, RuntimeWarning, stacklevel=2)

    def _train_whole(self, number: int) -> None:
        """Train everything that has a learning rate, on the only slab."""
        prepared = self._prepared(number)
        preset, start = self.task.preset, prepared.start
        with self._monitor.stage("training") as tick:
            self._field.to(self.chosen.device)
            trained = train(start if self.task.is_semantic else start.image_only(), self._field, prepared.targets(),
                            self.renderer, preset.training, preset.triplane.total_variation, self.task.observed.pixel,
                            tick)
        self._trained = prepared, trained

    def _train_field(self) -> None:
        """Train the field with Adam: the gradients of all slabs, each from its core's pixels alone, make one step."""
        training, field = self.task.preset.training, self._field.to("cpu")
        leaves = list(field.parameters())
        optimizer = Adam([(leaves, training.learning_rates.get("field", 0.0))])
        plateau = Plateau(optimizer.rates, training.patience)
        self._sweeps, loss = training.steps + 1, float("nan")
        for self._sweep in range(training.steps):
            variation = self.task.preset.triplane.total_variation * field.total_variation()
            for leaf, gradient in zip(leaves, torch.autograd.grad(variation, leaves, allow_unused=True), strict=True):
                leaf.grad = torch.zeros_like(leaf) if gradient is None else gradient
            losses, number = [float(variation.detach())], 0
            while number < len(self.slabs):
                number += self._attempt(number, lambda n, known=loss, all_=losses: all_.append(  # type: ignore[misc]
                    self._learn(n, known)))
            optimizer.step([leaf.grad for leaf in leaves])
            plateau.follow(torch.tensor(sum(losses)))
            loss = sum(losses)
        self._sweep = training.steps

    def _learn(self, number: int, loss_before: float) -> float:
        """Add the gradient of a slab to that of the field; return the slab's share of the loss."""
        prepared, (step, steps) = self._prepared(number, has_labels=False), self._visit(number, self._sweeps - 1)
        with self._monitor.stage("training", step, steps) as tick:
            tick(0, 1, loss_before)
            field = copy.deepcopy(self._field).to(self.chosen.device)
            gaussians = field.applied_to(prepared.start).drawn()
            loss = torch.zeros((), device=self.chosen.device)
            for target in prepared.targets(of_core=True):
                loss = loss + planes_loss(self.renderer(gaussians, target.planes), target, self.task.preset.training)
            gradients = torch.autograd.grad(loss, list(field.parameters()), allow_unused=True)
        for leaf, gradient in zip(self._field.parameters(), gradients, strict=True):
            if gradient is not None and leaf.grad is not None:
                leaf.grad += gradient.cpu()
        return float(loss.detach())

    def _fit(self, number: int) -> FittedSlab:
        """Apply the field, unless that was done, and refine."""
        (prepared, trained), self._trained = self._trained or (self._prepared(number), None), None
        preset = self.task.preset
        if trained is None:
            with torch.no_grad():
                trained = self._field.to(self.chosen.device).applied_to(prepared.start.image_only())
        with self._monitor.stage("refinement", *self._visit(number, 1)) as tick:
            if preset.refinement_steps:
                trained = refine(trained, prepared.targets(), self.renderer, preset.refinement_steps, preset.refinement,
                                 tick)
            if not self.task.is_semantic:
                trained = trained.with_labels_of(prepared.start)
            return prepared.finished(trained, self.renderer)

    def _prepared(self, number: int, has_labels: bool = True) -> PreparedSlab:
        """Predict, and place the Gaussians, with their labels or, which is quicker, without."""
        visit = self._visit(number, self._sweeps)
        return PreparedSlab.of(self.task, self.slabs[number], self.chosen.device,
                               lambda stage: self._monitor.stage(stage, *visit), has_labels)

    def _visit(self, number: int, sweeps: int) -> tuple[int, int]:
        """Which visit to a slab this is, of how many, where every slab is visited in each of `sweeps` sweeps."""
        return min(self._sweep, sweeps - 1) * len(self.slabs) + number, sweeps * len(self.slabs)
