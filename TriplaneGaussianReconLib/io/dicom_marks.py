"""What tells volumes at the same places apart: time, echo, diffusion weighting and the like."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .dicom_frames import Frame

_CONTENT, _TIMING = "FrameContentSequence", "MRTimingAndRelatedParametersSequence"
_KINDS = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")


@dataclass(frozen=True)
class _Mark:
    """A field that may differ between volumes.  macros: functional groups that may hold it."""

    keyword: str
    name: str
    unit: str = ""
    macros: tuple[str, ...] = ()


_MARKS = (  # the first that tells volumes apart numbers them
    _Mark("TemporalPositionIndex", "time point", macros=(_CONTENT,)),
    _Mark("TemporalPositionIdentifier", "time point"),
    _Mark("TemporalPositionTimeOffset", "time", "s", ("TemporalPositionSequence",)),
    _Mark("EchoNumbers", "echo"),
    _Mark("EffectiveEchoTime", "echo time", "ms", ("MREchoSequence",)),
    _Mark("EchoTime", "echo time", "ms", ("MREchoSequence",)),
    _Mark("DiffusionBValue", "b-value", "s/mm2", ("MRDiffusionSequence",)),
    _Mark("DiffusionGradientOrientation", "gradient direction", "",
          ("MRDiffusionSequence/DiffusionGradientDirectionSequence",)),
    _Mark("TriggerTime", "trigger time", "ms"),
    _Mark("NominalCardiacTriggerDelayTime", "trigger delay", "ms", ("CardiacSynchronizationSequence",)),
    _Mark("InversionTime", "inversion time", "ms"),
    _Mark("InversionTimes", "inversion time", "ms", ("MRModifierSequence",)),
    _Mark("FlipAngle", "flip angle", "degrees", (_TIMING,)),
    _Mark("RepetitionTime", "repetition time", "ms", (_TIMING,)),
    _Mark("ComplexImageComponent", "component", "", _KINDS),
    _Mark("FrameType", "kind", "", _KINDS),
    _Mark("ImageType", "kind"),
    _Mark("SequenceName", "sequence"),
    _Mark("ConvolutionKernel", "kernel", "", ("CTReconstructionSequence",)),
    _Mark("KVP", "voltage", "kV", ("CTXRayDetailsSequence",)),
    _Mark("DoseSummationType", "dose of"),
    _Mark("EnergyWindowVector", "energy window"),
    _Mark("PhaseVector", "phase"),
    _Mark("RRIntervalVector", "R-R interval"),
    _Mark("TimeSlotVector", "time slot"),
    _Mark("TimeSliceVector", "time slice"),
    _Mark("DetectorVector", "detector"),
    _Mark("RotationVector", "rotation"),
    _Mark("StackID", "stack", macros=(_CONTENT,)),
    _Mark("AcquisitionNumber", "acquisition"),
    _Mark("FrameAcquisitionNumber", "acquisition", macros=(_CONTENT,)),
    _Mark("FrameReferenceTime", "frame time", "ms"),
    _Mark("AcquisitionDateTime", "acquired at"),
    _Mark("FrameAcquisitionDateTime", "acquired at", macros=(_CONTENT,)),
    _Mark("FrameReferenceDateTime", "acquired at", macros=(_CONTENT,)),
    _Mark("AcquisitionTime", "acquired at"),
    _Mark("ContentTime", "made at"),
    _Mark("SeriesTime", "series at"),
)
Value = tuple[tuple[int, float, str], ...]  # of each part: whether it is text, its number, how it is written


def marks_of(frame: Frame) -> dict[str, Value]:
    """Return what a frame has of all that may tell volumes apart, by its name as in a message, the surest first."""
    found: dict[str, Value] = {}
    for mark in _MARKS:
        value = _value(frame.fields.get(mark.keyword, *mark.macros))
        found[f"{mark.keyword}|{mark.name}|{mark.unit}"] = value
    indices = frame.fields.get("DimensionIndexValues", _CONTENT)
    for dimension, index in enumerate(_parts(indices)):
        found[f"{dimension}|index {dimension + 1}|"] = _value(index)
    return found


def described(mark: str, value: Value) -> str:
    """Return a mark and its value in words, as 'echo time 4.6 ms'."""
    _, name, unit = mark.split("|")
    shown = "\\".join(text for *_, text in value) or "none"
    return f"{name} {shown}{' ' * bool(unit)}{unit if value else ''}".strip()


def _value(value: Any) -> Value:
    return tuple(_part(part) for part in _parts(value))


def _parts(value: Any) -> list[Any]:
    """The values of a field that may have none, one or several."""
    if value is None or value == "":
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def _part(part: Any) -> tuple[int, float, str]:
    try:
        number = float(part)
        return 0, number, f"{number:g}" if abs(number) < 1e5 else str(part)  # a time of day keeps all its digits
    except (TypeError, ValueError):
        return 1, 0.0, str(part)
