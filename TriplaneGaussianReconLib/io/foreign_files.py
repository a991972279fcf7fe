"""Files that are no volume, or none that is read: what they are, and what to do with them."""
from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError

_CONVERT = "Convert it to NIfTI or NRRD, and use that file"
_OF_PHILIPS = f"{_CONVERT} (dcm2niix, or parrec2nii of nibabel)"
_UNPACK = "Unpack it, and give the file or folder inside"
_SURFACE = ("a surface or mesh, not a volume", "Give the volume from which it was made")
_PICKLE = ("a Python pickle, which is never opened because it could run code", "Save the array with tgr.write_image, "
           "or with numpy.savez as .npz")

# (where, bytes there, what it is, what to do)
_MARKS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the data", "Run 'git lfs pull' in its repository"),
    (0, b"/annex/objects/", "a pointer of git-annex, not the data", "Run 'git annex get' on it"),
    (0, b"../.git/annex/", "a pointer of git-annex, not the data", "Run 'git annex get' on it"),
    (0, b"\x93NUMPY", "a .npy, which tells no spacing and no place", "Save it as .npz with array, origin, spacing and "
     "direction, or call reconstruct in Python with a tgr.Image"),
    (257, b"ustar", "an archive (tar)", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive (7z)", _UNPACK),
    (0, b"Rar!", "an archive (rar)", _UNPACK),
    (0, b"\xfd7zXZ\0", "packed with xz", "Unpack it with 'unxz', and give the file inside"),
    (0, b"\x28\xb5\x2f\xfd", "packed with zstd", "Unpack it with 'unzstd', and give the file inside"),
    (0, b"BZh", "packed with bzip2", "Unpack it with 'bunzip2', and give the file inside"),
    (0, b"MATLAB ", "a MATLAB file, which tells no spacing and no place",
     "Write the volume in MATLAB with niftiwrite, and use that file"),
    (0, b"CDF\x01", "a MINC or netCDF file", f"{_CONVERT} (mnc2nii)"),
    (0, b"CDF\x02", "a MINC or netCDF file", f"{_CONVERT} (mnc2nii)"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (MINC 2, MATLAB 7.3, Imaris or another)", _CONVERT),
    (0, b"# === DATA DESCRIPTION FILE", "a header of Philips PAR/REC", _OF_PHILIPS),
    (0, b"ply\n", *_SURFACE), (0, b"ply\r", *_SURFACE), (0, b"solid ", *_SURFACE),
    (0, b"%PDF", "a PDF document", "Give a volume"),
    (0, b"GIF8", "a GIF picture", "Save its pictures as PNG, and give their folder with --spacing"),
    (0, b"SQLite format 3", "a database", "Give the folder of one DICOM series, or a file"),
)
_NAMES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    ((".seq.nrrd", ".seq.nhdr", ".seq.mha", ".igs.mha"), "a sequence, of tracked frames or of volumes",
     "Open it in 3D Slicer, and save one volume of it"),
    ((".mrml", ".mrb"), "a scene of 3D Slicer", "Open it in 3D Slicer, and save the volume as NRRD"),
    ((".brik", ".head", ".brik.gz"), "a file of AFNI", f"{_CONVERT} (3dAFNItoNIFTI)"),
    ((".par", ".rec", ".xml.rec"), "a file of Philips PAR/REC", _OF_PHILIPS),
    ((".mnc", ".mnc.gz"), "a MINC file", f"{_CONVERT} (mnc2nii)"),
    ((".vti",), "a VTK image in XML", "Open it in 3D Slicer or ParaView, and save it as NRRD or MetaImage"),
    ((".stl", ".ply", ".obj", ".vtp", ".vtu", ".glb", ".gltf", ".gii"), *_SURFACE),
    ((".pkl", ".pickle", ".pt", ".pth", ".joblib"), *_PICKLE),
    ((".mat",), "a MATLAB file, which tells no spacing and no place",
     "Write the volume in MATLAB with niftiwrite, and use that file"),
    ((".czi", ".lif", ".nd2", ".ims", ".oib", ".vsi", ".svs"), "a file of a microscope", _CONVERT),
    ((".bval", ".bvec", ".json", ".csv", ".tsv", ".txt"), "a table or text beside a volume", "Give the volume itself"),
)
_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".npz", ".hdr", ".mgz")
_KNOWN = (*_VOLUMES, ".img", ".mgh", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".mha.gz", ".nrrd.gz", ".nia")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def refuse_foreign(path: Path, start: bytes) -> None:
    """Raise InputError for what is known and not read.

    start: the first bytes, unpacked if gzip had packed them.
    """
    name = path.name.lower()
    for extensions, what, remedy in _NAMES:
        if name.endswith(extensions):
            raise InputError(f"it is {what}. {remedy}.")
    for at, mark, what, remedy in _MARKS:
        if start[at:].startswith(mark):
            raise InputError(f"it is {what}. {remedy}.")
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise InputError(f"it is {_PICKLE[0]}. {_PICKLE[1]}.")
    if start.startswith(b"PK"):
        _refuse_archive(path)
        return
    _refuse_markup(start)
    if name.endswith(_ARCHIVES):
        raise InputError(f"it is an archive. {_UNPACK}.")


def _refuse_archive(path: Path) -> None:
    """Raise InputError for a zip archive, unless it is a .npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if path.suffix.lower() == ".npz":
            return
        raise InputError("it is a damaged archive (zip). Copy or download it again.") from error
    if any(name.endswith("data.pkl") for name in names):
        raise InputError(f"it is {_PICKLE[0]}. {_PICKLE[1]}.")
    if any(name.endswith(".mrml") for name in names):
        raise InputError("it is a scene of 3D Slicer. Open it in 3D Slicer, and save the volume as NRRD.")
    if not any(name.endswith(".npy") for name in names):
        raise InputError(f"it is an archive (zip). {_UNPACK}.")


def refuse_text(start: bytes) -> None:
    """Raise InputError for text, which begins no volume that is known here."""
    if not start.translate(None, bytes(range(32, 127)) + b"\t\r\n") and start:
        raise InputError("it is text, not a volume. Give the file with the voxels.")


def refuse_damaged(path: Path, start: bytes) -> None:
    """Raise InputError for the name of a known format without its content: ITK goes by names, and may crash then."""
    if path.name.lower().endswith(_KNOWN) and start[128:132] != b"DICM":
        raise InputError(f"its beginning is not that of its format, {path.suffix}: its format is not known, or it is "
                         "damaged. Copy or export it again.")


def refuse_lost_link(path: Path) -> None:
    """Raise InputError for a link that leads nowhere, as git-annex has them."""
    if os.path.islink(path) and not os.path.exists(path):  # of names that are too long, too
        target = os.readlink(path)
        if "annex/objects" in target.replace(os.sep, "/"):
            raise InputError(f"'{path}' is a link of git-annex to data that is not here. Run 'git annex get' on it.")
        raise InputError(f"'{path}' is a link to '{target}', which does not exist. Give the file itself.")


def refuse_lone_volume(folder: Path) -> None:
    """Raise InputError for a folder of nothing but files that hold a volume each."""
    files = [file.name for file in folder.iterdir() if not file.name.startswith(".")]
    volumes = sorted(name for name in files if name.lower().endswith(_VOLUMES))
    if volumes and 2 * len(volumes) >= len(files):
        raise InputError(f"it is a folder of volumes, not of slices. Give one of its files: '{volumes[0]}'"
                         f"{', ...' if len(volumes) > 1 else ''}.")


def refuse_tracked(fields: Iterable[str]) -> None:
    """Raise InputError where names of header fields are those of a recording of a tracked probe."""
    if any(name.startswith("Seq_Frame") for name in fields):
        raise InputError("it is a sequence of tracked 2D frames, which are no parallel slices. Reconstruct a volume "
                         "from them first.")


def _refuse_markup(start: bytes) -> None:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        raise InputError("it is a web page, probably of an error or a log-in, saved under the name of a volume. "
                         "Download the file again.")
    if b"<mrml" in text:
        raise InputError("it is a scene of 3D Slicer. Open it in 3D Slicer, and save the volume as NRRD.")
    if b"<vtkfile" in text:
        is_image = b'type="imagedata"' in text
        what, remedy = ("a VTK image in XML", "Open it in 3D Slicer or ParaView, and save it as NRRD or MetaImage") \
            if is_image else _SURFACE
        raise InputError(f"it is {what}. {remedy}.")
    if text.startswith(b"# vtk datafile") and b"structured_points" not in text:
        raise InputError(f"it is {_SURFACE[0]}. {_SURFACE[1]}.")
    if text.startswith((b"<?xml", b"<")):
        raise InputError("it is an XML or web document, not a volume. Give the file with the voxels.")
