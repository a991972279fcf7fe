"""The DICOM series that a result was made from: what derived objects take over from it, and how they name it."""
from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from .atomic import PathLike
from .dicom_files import dicom_images
from .dicom_header import is_dicom, quiet
from .dicom_series import chosen_series

MAKER = "TriplaneGaussianRecon"
CAUTION = "Research software, not a medical device."
_PATIENT = (
    "PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDsSequence", "PatientBirthDate", "PatientBirthTime",
    "PatientSex", "EthnicGroup", "PatientComments", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence", "ResponsiblePerson",
    "ResponsiblePersonRole", "ResponsibleOrganization", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID")
_STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "StudyDescription", "PhysiciansOfRecord", "ProcedureCodeSequence", "PatientAge",
    "PatientSize", "PatientWeight", "PatientSexNeutered", "AdmissionID", "LongitudinalTemporalInformationModified",
    "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription")
_PLACE = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition", "BodyPartExamined",
          "AnatomicRegionSequence", "Laterality", "BurnedInAnnotation", "RecognizableVisualFeatures",
          "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_EQUIPMENT = ("Manufacturer", "InstitutionName", "InstitutionAddress", "StationName", "InstitutionalDepartmentName",
              "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "ContributingEquipmentSequence")
_MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
                 "ReferringPhysicianName", "StudyID", "AccessionNumber", "PositionReferenceIndicator", "Manufacturer")


@dataclass(frozen=True)
class DicomSource:
    """The headers of one series, without pixels, and where their slices lie along the volume's normal.

    Attributes:
        headers: pydicom datasets, one a file.
    """

    headers: tuple[Any, ...]

    @property
    def first(self) -> Any:
        """The header that stands for all."""
        return self.headers[0]

    def near(self, position: np.ndarray, normal: np.ndarray) -> list[Any]:
        """Return the headers of the slices between which a position (3,) mm lies; the whole series if it is one file.

        normal: (3,) of the slices.
        """
        offsets = np.array([np.dot(np.array(header.get("ImagePositionPatient") or (np.nan,) * 3, np.float64) - position,
                                   normal) for header in self.headers])
        if len(offsets) == 1 or not np.isfinite(offsets).all():
            return [self.first]
        below, above = (np.where(side, np.abs(offsets), np.inf) for side in (offsets <= 1e-3, offsets >= -1e-3))
        chosen = {int(np.argmin(distance)) for distance in (below, above) if np.isfinite(distance).any()}
        return [self.headers[number] for number in sorted(chosen)]


def source_of(path: PathLike | None, series: str, wanted: str) -> DicomSource:
    """Return the series that a result was made from, see `read_source`; wanted: what needs it.

    Raises InputError where `path` is no DICOM file and no folder that holds one.
    """
    if path is None or not _files(Path(path)):
        raise InputError(f"{wanted} can only be made from a DICOM volume, whose patient and study it takes over. Give "
                         "a DICOM series as the volume, or choose a file such as .nrrd for the result.")
    return read_source(path, series)


def read_source(path: PathLike, series: str = "") -> DicomSource:
    """Read the headers of a series.

    Args:
        path: a DICOM file, or the folder of a series.
        series: which one of a folder, chosen as `read_image` does; by default the one with most slices.

    Raises:
        InputError: there is no such series of images.
    """
    try:
        with quiet():
            files = chosen_series(dicom_images(Path(path)), series, notes=[])  # reading the volume told the notes
    except InputError as error:
        raise InputError(f"'{path}' cannot be used: {error}") from error
    return DicomSource(tuple(file.dataset for file in files))


def derived_header(source: DicomSource) -> Any:
    """Return a new dataset with the patient, study, place and equipment of `source`, and a trace of what made it."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    with quiet():
        header = Dataset()
        for keyword in (*_PATIENT, *_STUDY, *_PLACE, *_EQUIPMENT):
            if keyword in source.first:
                setattr(header, keyword, deepcopy(source.first[keyword].value))
        for keyword in _MAY_BE_EMPTY:
            if keyword not in header:
                setattr(header, keyword, None)
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            if not header.get(keyword):
                setattr(header, keyword, generate_uid(entropy_srcs=[keyword, str(source.first.SOPInstanceUID)]))
        header.SpecificCharacterSet = "ISO_IR 192"
        equipment = Dataset()
        equipment.Manufacturer = equipment.ManufacturerModelName = MAKER
        equipment.SoftwareVersions = __version__
        equipment.ContributionDescription = CAUTION
        equipment.PurposeOfReferenceCodeSequence = [coded("109102", "DCM", "Processing Equipment")]
        header.ContributingEquipmentSequence = [*(header.get("ContributingEquipmentSequence") or ()), equipment]
    return header


def coded(value: str, scheme: str, meaning: str) -> Any:
    """Return an item of a code sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def references_to(headers: Sequence[Any]) -> list[Any]:
    """Return the items that name these images."""
    from pydicom.dataset import Dataset

    items = []
    for header in headers:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        item.PurposeOfReferenceCodeSequence = [coded("121322", "DCM", "Source image for image processing operation")]
        items.append(item)
    return items


def _files(path: Path) -> list[Path]:
    """The DICOM files that `path` is or directly holds."""
    if path.is_dir():
        return [file for file in sorted(path.iterdir()) if file.is_file() and is_dicom(file)]
    return [path] if path.is_file() and is_dicom(path) else []
