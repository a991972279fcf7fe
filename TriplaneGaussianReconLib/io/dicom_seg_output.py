"""A segmentation as a DICOM SEG of bits, with the codes, names and colours of its segments."""
from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..data.colors import usual_color
from ..data.geometry import Grid
from ..data.images import Segment, Segmentation
from ..errors import InputError, OutputError
from .dicom_header import quiet
from .dicom_source import CAUTION, MAKER, DicomSource, derived_header
from .terminology import UNSPECIFIC, Code, Terminology, terminology_in

_LONGEST_LABEL = 64  # letters


def write_seg(path: Path, segmentation: Segmentation, source: DicomSource) -> None:
    """Write all segments that have a voxel; DICOM numbers them from 1 without a gap, so others may get new numbers.

    Raises InputError for a grid that DICOM cannot hold, OutputError where there is no voxel to write.
    """
    grid = segmentation.grid
    if grid.is_sheared or grid.depths:
        raise InputError("The segmentation's slices are sheared or uneven, which DICOM segmentations of this program "
                         "are not to be. Write a .seg.nrrd.")
    present = [number for number, segment in enumerate(segmentation.segments)
               if any((plane == segment.value).any() for plane in segmentation.layers[segment.layer])]
    if not present:
        raise OutputError("The segmentation has no voxel, and a DICOM segmentation needs one. Write a .seg.nrrd.")
    ordered = sorted(present, key=lambda number: (segmentation.segments[number].value, number))
    numbers = [segmentation.segments[number].value for number in ordered]
    if numbers != list(range(1, len(numbers) + 1)):
        listing = ", ".join(f"{n + 1} = {segmentation.segments[number].name}" for n, number in enumerate(ordered))
        warnings.warn(f"A DICOM segmentation numbers its segments from 1: {listing}.", stacklevel=4)
    with quiet():
        try:
            dataset = _dataset(segmentation, ordered, source)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # what highdicom raises
            raise OutputError("No DICOM segmentation can be made of this volume's headers, which lack or contradict "
                              "what one needs. Write a .seg.nrrd.") from error
        dataset.save_as(path, enforce_file_format=True)


def _dataset(segmentation: Segmentation, ordered: list[int], source: DicomSource) -> Any:
    from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
    from highdicom.seg import Segmentation as DicomSegmentation
    from pydicom.uid import generate_uid

    grid = segmentation.grid
    tags = _tags(segmentation.metadata)
    positions = grid.index_to_physical(np.stack([np.zeros(grid.shape[0])] * 2 + [np.arange(grid.shape[0])], axis=1))
    dataset = DicomSegmentation(
        _images(source, grid), _pixels(segmentation, ordered), "BINARY",
        [_description(n + 1, segmentation.segments[number], tags) for n, number in enumerate(ordered)],
        series_instance_uid=generate_uid(), series_number=1, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer=MAKER, manufacturer_model_name=MAKER, software_versions=__version__, device_serial_number="1",
        content_description="Segments filled in between slices", content_label="DENSE",
        pixel_measures=PixelMeasuresSequence((grid.spacing[1], grid.spacing[0]), grid.spacing[2], grid.spacing[2]),
        plane_orientation=PlaneOrientationSequence("PATIENT", np.asarray(grid.direction)[:, :2].T.ravel().tolist()),
        plane_positions=[PlanePositionSequence("PATIENT", position.tolist()) for position in positions])
    _name_classes(dataset, source)
    dataset.ContentCreatorName = None  # may be empty, but not be left out
    dataset.SeriesDescription = f"Segmentation ({MAKER})"
    dataset.DerivationDescription = f"Segments filled in between slices, by {MAKER}. {CAUTION}"
    return dataset


def _images(source: DicomSource, grid: Grid) -> list[Any]:
    """What highdicom takes over from the source images: patient and study, and by what name to refer to them.

    Headers in the world lack much of what it looks for, and it knows few classes; so each image passes for a CT slice
    on the grid, whose planes have positions of their own, and `_name_classes` puts the references right.
    """
    from pydicom.uid import CTImageStorage

    common = derived_header(source)
    del common.ContributingEquipmentSequence  # highdicom writes its own
    common.PixelSpacing, common.SliceThickness = [grid.spacing[1], grid.spacing[0]], grid.spacing[2]
    common.ImageOrientationPatient = np.asarray(grid.direction)[:, :2].T.ravel().tolist()
    common.Rows, common.Columns = grid.shape[1:]
    common.SeriesInstanceUID = source.first.SeriesInstanceUID
    common.Modality = source.first.get("Modality") or "OT"
    images = []
    for header in source.headers:
        image = deepcopy(common)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, header.SOPInstanceUID
        image.ImagePositionPatient = header.get("ImagePositionPatient") or list(grid.origin)
        images.append(image)
    return images


def _name_classes(dataset: Any, source: DicomSource) -> None:
    """Let all references to source images name the class that these have."""
    classes = {header.SOPInstanceUID: header.SOPClassUID for header in source.headers}

    def correct(owner: Any, element: Any) -> None:
        if element.keyword == "ReferencedSOPInstanceUID" and element.value in classes:
            owner.ReferencedSOPClassUID = classes[element.value]

    dataset.walk(correct)


def _pixels(segmentation: Segmentation, ordered: list[int]) -> np.ndarray:
    """[plane, row, column] numbers, or [plane, row, column, segment] where segments overlap: highdicom takes no less.

    Labels that have these numbers already are not copied.
    """
    segments = [segmentation.segments[number] for number in ordered]
    if len(segmentation.layers) > 1:
        return np.stack([segmentation.layers[one.layer] == one.value for one in segments], axis=-1).astype(np.uint8)
    labels, dtype = segmentation.layers[0], np.dtype(np.uint8 if len(segments) < 256 else np.uint16)
    if labels.dtype == dtype and labels.max() == len(segments) and [one.value for one in segments] == list(
            range(1, len(segments) + 1)):
        return labels
    numbers = np.zeros(labels.shape, dtype)
    for into, plane in zip(numbers, labels, strict=True):
        for n, segment in enumerate(segments):
            into[plane == segment.value] = n + 1
    return numbers


def _tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """By identifier, the tags that a `.seg.nrrd` has for a segment."""
    return {value: metadata.get(key.removesuffix("ID") + "Tags", "") for key, value in metadata.items()
            if key.startswith("Segment") and key.endswith("_ID")}


def _description(number: int, segment: Segment, tags: Mapping[str, str]) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    known = terminology_in(tags.get(segment.identifier, "")) or UNSPECIFIC
    red, green, blue = (round(255 * min(max(x, 0.0), 1.0)) for x in segment.color or usual_color(segment.value))
    description = SegmentDescription(
        number, (segment.name or f"Segment {number}")[:_LONGEST_LABEL], _concept(CodedConcept, known.category),
        _concept(CodedConcept, known.kind), "SEMIAUTOMATIC",
        AlgorithmIdentificationSequence(MAKER, codes.DCM.ArtificialIntelligence, __version__),
        display_color=CIELabColor.from_rgb(red, green, blue))
    _add_modifiers(description, known, CodedConcept)
    return description


def _add_modifiers(description: Any, known: Terminology, concept: Any) -> None:
    if known.modifier.value:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            _concept(concept, known.modifier)]
    if known.region.value:
        description.AnatomicRegionSequence = [_concept(concept, known.region)]
        if known.region_modifier.value:
            description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [
                _concept(concept, known.region_modifier)]


def _concept(concept: Any, code: Code) -> Any:
    return concept(code.value, code.scheme, code.meaning or code.value)
