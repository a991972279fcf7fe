"""Several volumes of one body: what is used of them, on which voxels they meet, and what a result gets from them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..config.names import MotionKind
from ..config.presets import Preset
from ..data.common_segments import CommonSegments, common_metadata
from ..data.geometry import Grid
from ..data.images import Segmentation
from ..data.observations import Observations
from ..data.output_grid import isotropic_spacing, output_grid, union_grid
from ..data.stack_input import StackInput
from ..data.stack_motion import StackMotion
from ..errors import InputError
from ..runtime.progress import Progress
from .error_report import ErrorReport
from .reconstruction import Reconstruction
from .report import Files, Scope
from .stack_report import StackReport

UNION, FIRST = "union", "first"


@dataclass(frozen=True)
class UsedStacks:
    """Several volumes of one body, the first of which defines the world.

    Attributes:
        inputs: The volumes.
    """

    inputs: tuple[StackInput, ...]

    def observations(self) -> Observations:
        """Return what a reconstruction sees; raises InputError where it cannot be used."""
        return Observations.from_volumes(self.inputs)

    def output(self, observations: Observations, voxels: str | Grid = UNION, spacing: str | float | None = None
               ) -> Grid | float:
        """Return the voxels of the result; for those about all volumes their side (mm), since where the volumes lie is
        found later.

        Args:
            observations: What is seen of the volumes.
            voxels: `union` for cubic ones about all volumes; `first` for those of the first volume, with another
                spacing along its slice axis; or these very ones.
            spacing: Mm; `isotropic`, the default, for as small as the smallest pixel; `input` for that of the first
                volume, where its voxels are taken.

        Raises:
            InputError: The spacing does not go with the voxels, or there would be too many, or one alone.
        """
        side = None if spacing is None or isinstance(spacing, str) else float(spacing)
        if isinstance(voxels, Grid):
            if spacing is not None:
                raise InputError("The spacing of the result is that of the volume whose voxels it has. Leave out one "
                                 "of both.")
            voxels.ijk_to_lps  # noqa: B018 - refuses slices that lie unevenly
            return voxels
        if voxels == UNION:
            if spacing == "input":
                raise InputError("Several volumes have no common spacing for the result to have. Give a number of mm, "
                                 f"or take the voxels of the first volume ('{FIRST}').")
            return union_grid(observations, side).spacing[0]
        if voxels != FIRST:
            raise InputError(f"Unknown voxels of the result, '{voxels}'. Choose {UNION}, {FIRST}, or a volume.")
        first = self.inputs[0]
        grid, axis = first.image.grid, first.slice_axis
        if side is None and spacing != "input":
            side = isotropic_spacing(grid, axis)
        return output_grid(grid, axis, side, first.used)

    def finished(self, result: Reconstruction, observations: Observations, notes: Sequence[str],
                 files: Sequence[Files] = ()) -> Reconstruction:
        """Return a result with what the pipeline does not see: header of the labels, what was used, and whole motions.

        Args:
            result: What the pipeline made of `observations`.  Its motions start where `to_first` has carried a volume;
                those that are returned start where the header has it, with the grey values of the file.
            observations: What it saw.
            notes: What was done to the input so that it can be used.
            files: Of each volume, as they were given, for the report.
        """
        found = result.motions or [StackMotion()] * len(self.inputs)
        motions = tuple(each.after(given.known) for given, each in zip(self.inputs, found, strict=True))
        given = [each.segmentation for each in self.inputs if each.segmentation is not None]
        segmentation = result.segmentation
        if segmentation is not None:
            segmentation = replace(segmentation, metadata=common_metadata(given))
        numbers = [stack.numbers or () for stack in observations.stacks]
        report = result.report.about(_scope(self.inputs[0], numbers[0], result.volume.grid, observations, given),
                                     files[0] if files else None, notes,
                                     ErrorReport.of(result, observations, self.inputs[0].image.unit))
        volumes = tuple(StackReport.of(each, numbers[n], motions[n]) for n, each in enumerate(self.inputs))
        if files:
            volumes = tuple(replace(told, volume=of.volume, labels=of.labels, mask=of.mask)
                            for told, of in zip(volumes, files, strict=True))
        return replace(result, segmentation=segmentation, motions=motions,
                       report=replace(report, volumes=volumes, pasted=False))


def solved(observations: Observations, output: Grid | float, *, preset: str | Preset, device: str, seed: int,
           motion: MotionKind, progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None,
           limit: int | None = None) -> Reconstruction:
    """Reconstruct from several volumes: the one place from which `pipeline.stacks` is called."""
    from .stacks import reconstruct_stacks

    return reconstruct_stacks(observations, output, preset=preset, device=device, seed=seed, motion=motion,
                              limit=limit, progress=progress, should_stop=should_stop)


def _scope(first: StackInput, numbers: tuple[int, ...], output: Grid, observations: Observations,
           given: Sequence[Segmentation]) -> Scope:
    """What was used of the first volume, for which voxels; given: all segmentations."""
    known = {segment.name for segment in observations.segments}
    everything = CommonSegments.of([segmentation.segments for segmentation in given]).segments
    return Scope(first.slice_axis, {first.slice_axis: tuple(sorted(numbers))}, tuple(output.shape),
                 tuple(output.spacing), tuple(s.name for s in everything if s.name not in known))
