"""A dataset in BIDS as a cohort: each anatomical image is a case, whose results have the names of derivatives."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .manifest import Case

DESCRIPTION = "dataset_description.json"
SUFFIXES = ("T1w", "T2w", "PDw", "T2starw", "FLAIR", "PDT2", "angio", "inplaneT1", "inplaneT2")
_BEFORE_REC = ("sub", "ses", "sample", "task", "tracksys", "acq", "ce", "trc", "stain")  # in BIDS' order of entities
_NIFTI = (".nii.gz", ".nii")
_LABEL = re.compile("[0-9a-zA-Z+]+")


@dataclass(frozen=True)
class Name:
    """A name in BIDS: entities in their order, and a suffix.

    Example:
        >>> name = Name.parse("sub-01_acq-thick_run-2_T2w")
        >>> str(name.derived("dense")), str(name.derived("dense", "dseg"))
        ('sub-01_acq-thick_rec-triplane_run-2_desc-dense_T2w', 'sub-01_acq-thick_rec-triplane_run-2_desc-dense_dseg')
    """

    entities: tuple[tuple[str, str], ...]
    suffix: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """Read a name without its extension; raises ValueError for one that is not BIDS'."""
        *parts, suffix = text.split("_")
        entities = [part.partition("-") for part in parts]
        if not entities or entities[0][0] != "sub" or not all(value for _, _, value in entities):
            raise ValueError(text)
        return cls(tuple((key, value) for key, _, value in entities), suffix)

    def derived(self, description: str, suffix: str = "") -> Name:
        """Return the name of what is made of it."""
        kept = [each for each in self.entities if each[0] not in ("rec", "desc")]
        first = sum(key in _BEFORE_REC for key, _ in kept)
        return Name((*kept[:first], ("rec", "triplane"), *kept[first:], ("desc", description)), suffix or self.suffix)

    def __str__(self) -> str:
        return "_".join((*(f"{key}-{value}" for key, value in self.entities), self.suffix))

    def __getitem__(self, key: str) -> str:
        return dict(self.entities).get(key, "")


def bids_cases(dataset: Path, options: Sequence[str] = (), suffixes: Sequence[str] = SUFFIXES,
               labels: Path | None = None) -> list[Case]:
    """Return a case for each anatomical image of a dataset.

    Args:
        dataset: Its folder.
        options: Of all cases.
        suffixes: Of the images to take, such as T2w.
        labels: Folder of derivatives with a segmentation `_dseg` of images; those without have none.

    Raises:
        InputError: It is no dataset, has no such image, or an image has several segmentations.
    """
    if not (dataset / DESCRIPTION).is_file():
        raise InputError(f"'{dataset}' is no dataset in BIDS: there is no {DESCRIPTION}. Give the folder that holds it "
                         "and the folders sub-...")
    cases = [_case(path, dataset, options, labels) for path in _images(dataset, suffixes)]
    if not cases:
        raise InputError(f"In '{dataset}' there is no anatomical image that ends in {', '.join(suffixes)}. Choose "
                         "others with --suffix.")
    return cases


def of_participants(cases: Sequence[Case], participants: Sequence[str], sessions: Sequence[str]) -> list[Case]:
    """Return the cases of some participants and sessions, with or without `sub-` and `ses-`; all where none are given.

    Raises:
        InputError: One of them is not there.
    """
    chosen = list(cases)
    for key, wanted in (("sub", participants), ("ses", sessions)):
        names = [each.removeprefix(f"{key}-") for each in wanted]
        known = {Name.parse(case.name)[key] for case in cases}
        for name in names:
            if not _LABEL.fullmatch(name) or name not in known:
                raise InputError(f"There is no image of '{key}-{name}'. Known are "
                                 f"{', '.join(sorted(filter(None, known))) or 'none'}.")
        chosen = [case for case in chosen if not names or Name.parse(case.name)[key] in names]
    if not chosen:
        raise InputError("None of these participants has an image of these sessions. Choose others.")
    return chosen


def _images(dataset: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield the images, in alphabetical order."""
    for folder in sorted([*dataset.glob("sub-*/anat"), *dataset.glob("sub-*/ses-*/anat")]):
        for path in sorted(folder.iterdir()):
            if path.name.endswith(_NIFTI) and _stem(path).rpartition("_")[2] in suffixes:
                yield path


def _case(path: Path, dataset: Path, options: Sequence[str], labels: Path | None) -> Case:
    name = _name(path)
    folder = path.parent.relative_to(dataset)
    segmentation = "" if labels is None else _segmentation(labels / folder, name)
    results = {"volume": name.derived("dense"), "expected_error": name.derived("expectederror"),
               **({"labels": name.derived("dense", "dseg")} if segmentation else {})}
    return Case(str(name), (os.path.abspath(path),), segmentation, tuple(options),
                tuple((kind, (folder / f"{each}.nii.gz").as_posix()) for kind, each in results.items()))


def _segmentation(folder: Path, name: Name) -> str:
    """The segmentation of an image in a folder of derivatives; empty without."""
    found = []
    for path in sorted(folder.glob("*_dseg.nii*")):
        if {*name.entities} <= {*_name(path).entities}:
            found.append(path)
    if len(found) > 1:
        raise InputError(f"'{name}' has several segmentations: {', '.join(path.name for path in found)}. Leave one.")
    return os.path.abspath(found[0]) if found else ""


def _name(path: Path) -> Name:
    """The name of a NIfTI file; raises InputError for one that is not BIDS'."""
    try:
        return Name.parse(_stem(path))
    except ValueError:
        raise InputError(f"The name of '{path}' is not BIDS'. Rename the file, or choose others.") from None


def _stem(path: Path) -> str:
    """The name of a NIfTI file without its extension."""
    return path.name.removesuffix(".gz").removesuffix(".nii")
