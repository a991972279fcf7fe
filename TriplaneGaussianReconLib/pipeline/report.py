"""What a reconstruction tells about itself, typed; to JSON and back.

Worker, command line and the Slicer module read these classes instead of keys.  The keys themselves stand here alone,
and scripts of users read them: a key is never renamed.  Reports of former versions are read too, so that what they did
not tell yet has a default.  Nothing here needs torch.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data.beyond import slices_beyond
from ..data.geometry import Axis, Grid
from ..data.images import Segmentation
from ..data.observations import Observations
from ..data.region import Region
from ..data.selection import Selection
from .error_report import ErrorReport
from .label_report import LabelCompletion
from .report_reader import Reader, axis, flag, listed, mapped, number, text, whole
from .self_check import SelfCheck
from .stack_report import HiddenPixelReport, StackReport
from .texture_report import TextureReport

PRODUCT = "TriplaneGaussianRecon"
NOTICE = "Research software, not a medical device."


@dataclass(frozen=True)
class StackResidual:
    """How exactly the model reproduces the observed slices of one stack.

    Attributes:
        mean_absolute: `mean_absolute`: mean absolute difference, in units of the input.
        largest: `largest`: largest absolute difference, in units of the input.
        psnr: `psnr`, dB, of the range of the input's intensities.
        label_agreement: `label_agreement`: share of the pixels whose labels agree, from 0 to 1; None without labels.
    """

    mean_absolute: float
    largest: float
    psnr: float
    label_agreement: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        labels = {} if self.label_agreement is None else {"label_agreement": self.label_agreement}
        return {"mean_absolute": self.mean_absolute, "largest": self.largest, "psnr": self.psnr, **labels}

    @classmethod
    def from_json(cls, content: Any) -> StackResidual:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "residual_on_trusted_slices")
        return cls(read("mean_absolute", number), read("largest", number), read("psnr", number),
                   read.optional("label_agreement", number, None))


@dataclass(frozen=True)
class Scope:
    """Which slices of a volume were used, and which voxels came of them.

    Attributes:
        axis: `axis`: the axis along which gaps were filled.
        selected: `trusted`: numbers of the slices that were used, by axis.
        output_shape: `output_shape_kji`: voxels of the result along k, j and i.
        output_spacing: `output_spacing_mm`: spacing of the result along i, j and k.
        repeated: `repeated_slices`: numbers of the slices of the result, by axis, that lie beyond the outermost used
            ones. There the image is a repetition, labels are none, and the expected error is the whole range of
            intensities. None in reports of former versions.
        segments_left_out: `segments_left_out`: names of the segments that are on no slice that was used; None in
            reports that a former command line wrote.
        region: `region`: the part of the volume that alone was reconstructed, from which to which voxel along i, j and
            k, such as 10-40,0-63,5-20; empty for all of it.
    """

    axis: Axis
    selected: Mapping[Axis, tuple[int, ...]]
    output_shape: tuple[int, ...]
    output_spacing: tuple[float, ...]
    segments_left_out: tuple[str, ...] | None = None
    repeated: Mapping[Axis, tuple[int, ...]] | None = None
    region: str = ""

    @classmethod
    def of(cls, axis: Axis, selections: Mapping[Axis, Selection], output: Grid, segmentation: Segmentation | None,
           observations: Observations, region: Region | None = None) -> Scope:
        """Describe a reconstruction on the grid `output`.

        Args:
            axis: Along which gaps are filled.
            selections: Which slices are used, by axis.
            output: The voxels of the result.
            segmentation: What was given, if anything.
            observations: What was made of volume and segmentation.
            region: What alone was reconstructed; None for the whole volume.
        """
        given = segmentation.segments if segmentation is not None else ()
        across, beyond = slices_beyond(observations.stacks[0], output)
        repeated = {across: tuple(np.flatnonzero(beyond).tolist())} if beyond.any() else {}
        return cls(axis, {name: selection.indices for name, selection in selections.items()}, tuple(output.shape),
                   tuple(output.spacing),
                   tuple(s.name for s in given if s not in observations.segments), repeated,
                   "" if region is None else str(region))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        repeated = {} if self.repeated is None else {
            "repeated_slices": {axis: list(slices) for axis, slices in self.repeated.items()}}
        left_out = {} if self.segments_left_out is None else {"segments_left_out": list(self.segments_left_out)}
        return {"axis": self.axis, "trusted": {axis: list(indices) for axis, indices in self.selected.items()},
                "output_shape_kji": list(self.output_shape), "output_spacing_mm": list(self.output_spacing),
                **repeated, **left_out, **({"region": self.region} if self.region else {})}

    @classmethod
    def from_json(cls, content: Any) -> Scope | None:
        """Read what `to_json` made, None where there is nothing of it; raises InputError for anything else."""
        read = Reader(content, "report")
        if "axis" not in content:
            return None
        return cls(read("axis", axis), read("trusted", mapped(listed(whole), axis)),
                   read("output_shape_kji", listed(whole)), read("output_spacing_mm", listed(number)),
                   read.optional("segments_left_out", listed(text), None),
                   read.optional("repeated_slices", mapped(listed(whole), axis), None),
                   read.optional("region", text, ""))


@dataclass(frozen=True)
class Files:
    """What the command line read.

    Attributes:
        volume: `input`: the file or folder of the volume, as it was given.
        labels: `input_labels`: the file of the labels, as it was given; None without labels.
        mask: `input_mask`: the file of the mask, as it was given; None without.
    """

    volume: str
    labels: str | None
    mask: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        mask = {} if self.mask is None else {"input_mask": self.mask}
        return {"input": self.volume, "input_labels": self.labels, **mask}

    @classmethod
    def from_json(cls, content: Any) -> Files | None:
        """Read what `to_json` made, None where there is nothing of it; raises InputError for anything else."""
        read = Reader(content, "report")
        if "input" not in content:
            return None
        return cls(read("input", text), read.optional("input_labels", text, None),
                   read.optional("input_mask", text, None))


@dataclass(frozen=True)
class Provenance:
    """How a model was made: the part of a report that a saved model carries.

    Attributes:
        version: `version` of this library.
        preset: `preset`: its name.
        seed: `seed` of the random numbers.
        device: `device`: cpu or cuda.
        trusted_slices: `trusted_slices`: how many slices were used; of several axes those of the slice axis, of several
            volumes all.
        self_check: `self_check`, see there.
        product: `product`: name of this software.
        note: `note`: what the software is not, for users.
        hidden_pixels: `hidden_pixels`, of several volumes: what was chosen by them; None elsewhere.
    """

    version: str
    preset: str
    seed: int
    device: str
    trusted_slices: int
    self_check: SelfCheck
    product: str = PRODUCT
    note: str = NOTICE
    hidden_pixels: HiddenPixelReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        chosen = {} if self.hidden_pixels is None else {"hidden_pixels": self.hidden_pixels.to_json()}
        return {"product": self.product, "version": self.version, "preset": self.preset, "seed": self.seed,
                "device": self.device, "trusted_slices": self.trusted_slices, "self_check": self.self_check.to_json(),
                **chosen, "note": self.note}

    @classmethod
    def from_json(cls, content: Any) -> Provenance:
        """Read what `to_json` made; raises InputError for anything else."""
        read = Reader(content, "report")
        return cls(read("version", text), read("preset", text), read("seed", whole), read("device", text),
                   read("trusted_slices", whole), read("self_check", SelfCheck.from_json), read("product", text),
                   read("note", text), read.optional("hidden_pixels", HiddenPixelReport.from_json, None))


@dataclass(frozen=True)
class Report:
    """What a reconstruction tells about itself.  In JSON the entries of `provenance`, `scope` and `files` are its own.

    Attributes:
        provenance: What a saved model tells as well.
        device_note: `device_note`: which device it was, and why.
        slabs: `slabs`: into how many slabs the work was cut to fit into memory; 1 if it was not.
        gaussians: `gaussians`: how many Gaussians the model has.
        labels: `labels`: how many segments were filled in.
        weights: `weights`: share of each interpolator in the prediction, from 0 to 1, the largest first.
        residuals: `residual_on_trusted_slices`: one for each stack of slices, that of the slice axis first.
        seconds: `seconds` that each stage took, by its name in `config.stages`; 0 for stages that were skipped.
        losses: `loss`: the last loss of each stage that has one, by the stage's name.
        notes: `notes`: what the user should know of input and run, such as that a slice is missing, or that memory did
            not suffice.
        scope: Which slices were used for which voxels; None where the caller of the pipeline did not add it.
        files: What the command line read; None elsewhere.
        completion: `label_completion`: labels that were filled on slices whose image is known; None where none were.
        expected_error: `expected_error`: how large the expected error is as a whole; None where nothing was predicted,
            where the caller of the pipeline did not add it, and in reports of former versions.
        volumes: `volumes`: what was used of each where there are several, and how it was carried to the first.
        texture: `texture`: noise that was added to filled slices; None where the texture is plain.
        pasted: `pasted_trusted_slices`: whether the observed slices stand in the result as they were in the input; None
            where the caller of the pipeline did not say so.
    """

    provenance: Provenance
    device_note: str
    slabs: int
    gaussians: int
    labels: int
    weights: Mapping[str, float]
    residuals: tuple[StackResidual, ...]
    seconds: Mapping[str, float]
    losses: Mapping[str, float]
    notes: tuple[str, ...] = ()
    scope: Scope | None = None
    files: Files | None = None
    completion: LabelCompletion | None = None
    volumes: tuple[StackReport, ...] = ()
    expected_error: ErrorReport | None = None
    texture: TextureReport | None = None
    pasted: bool | None = None

    @property
    def self_check(self) -> SelfCheck:
        """Scores of slices that were hidden."""
        return self.provenance.self_check

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it.  A number that is not finite becomes null in a file, and NaN when it is read."""
        return {
            **self.provenance.to_json(), "device_note": self.device_note, "slabs": self.slabs,
            "gaussians": self.gaussians, "labels": self.labels, "weights": dict(self.weights),
            "residual_on_trusted_slices": [residual.to_json() for residual in self.residuals],
            **({"expected_error": self.expected_error.to_json()} if self.expected_error is not None else {}),
            "seconds": dict(self.seconds), "loss": dict(self.losses), "notes": list(self.notes),
            **({"label_completion": self.completion.to_json()} if self.completion is not None else {}),
            **({"volumes": [volume.to_json() for volume in self.volumes]} if self.volumes else {}),
            **({"texture": self.texture.to_json()} if self.texture is not None else {}),
            **(self.files.to_json() if self.files is not None else {}),
            **({"pasted_trusted_slices": self.pasted} if self.pasted is not None else {}),
            **(self.scope.to_json() if self.scope is not None else {})}

    @classmethod
    def from_json(cls, content: Any) -> Report:
        """Read a report.

        Args:
            content: What `to_json` made, in this version or a former one. Keys that are not known are passed over.

        Raises:
            InputError: An entry is missing or of another kind; the message names it.
        """
        read = Reader(content, "report")
        return cls(Provenance.from_json(content), read("device_note", text), read("slabs", whole),
                   read("gaussians", whole), read("labels", whole), read("weights", mapped(number, text)),
                   read("residual_on_trusted_slices", listed(StackResidual.from_json)),
                   read("seconds", mapped(number, text)), read("loss", mapped(number, text)),
                   read("notes", listed(text)), Scope.from_json(content), Files.from_json(content),
                   read.optional("label_completion", LabelCompletion.from_json, None),
                   read.optional("volumes", listed(StackReport.from_json), ()),
                   read.optional("expected_error", ErrorReport.from_json, None),
                   read.optional("texture", TextureReport.from_json, None),
                   read.optional("pasted_trusted_slices", flag, None))

    def about(self, scope: Scope, files: Files | None = None, notes: Sequence[str] = (),
              expected_error: ErrorReport | None = None) -> Report:
        """Return it with what the pipeline does not know.

        Args:
            scope: Which slices were used for which voxels.
            files: What was read.
            notes: What was done to the input so that it can be used.
            expected_error: How large it is as a whole.
        """
        return replace(self, scope=scope, files=files, notes=(*notes, *self.notes), expected_error=expected_error)
