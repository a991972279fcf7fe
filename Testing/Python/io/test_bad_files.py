"""Files that are no volume, lie about themselves, or are damaged: each is named for what it is, and left as it is."""
from __future__ import annotations

import bz2
import gzip
import io
import locale
import os
import pickle
import re
import socket
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from image_file_case import voxels

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.io.readers import read_image

DATA = voxels().tobytes()  # 240 bytes
NRRD = ("NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 6 5 4\n"
        "space directions: (1,0,0) (0,1,0) (0,0,3)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
        "space origin: (0,0,0)\n")
META = ("ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 3\nDimSize = 6 5 4\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n")
FOREIGN = re.compile(r"itk|sitk|teem|0x|\.cxx|Traceback|nibabel\.|pynrrd|numpy\.\w+Error|ImageIO", re.IGNORECASE)


def changed(header: str, **fields: str) -> str:
    """Replace fields of a header; underscores stand for spaces."""
    for name, value in fields.items():
        header, count = re.subn(rf"^{name.replace('_', ' ')}( ?[:=] ).*$", rf"{name.replace('_', ' ')}\g<1>{value}",
                                header, flags=re.MULTILINE)
        assert count
    return header


def nrrd(data: bytes = DATA, more: str = "", **fields: str) -> bytes:
    return (changed(NRRD, **fields) + more + "\n").encode("latin-1") + data


def meta(data: bytes = DATA, more: str = "", **fields: str) -> bytes:
    return (more + changed(META, **fields)).encode() + data


def nifti(*changes: tuple[int, bytes], data: bytes = DATA) -> bytes:
    """A NIfTI file with fields of its header overwritten: where, what."""
    header = bytearray(352)
    for at, value in ((0, struct.pack("<i", 348)), (40, struct.pack("<8h", 3, 6, 5, 4, 1, 1, 1, 1)),
                      (70, struct.pack("<2h", 4, 16)), (76, struct.pack("<8f", 1, 1, 1, 3, 1, 1, 1, 1)),
                      (108, struct.pack("<f", 352)), (344, b"n+1\0"), *changes):
        header[at:at + len(value)] = value
    return bytes(header) + data


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in members.items():
            packed.writestr(name.replace("_", "."), content)
    return file.getvalue()


def npz(**changes: object) -> bytes:
    file = io.BytesIO()
    content = {"array": voxels(), "origin": np.zeros(3), "spacing": np.ones(3), "direction": np.eye(3), **changes}
    np.savez(file, **content)  # type: ignore[arg-type]
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        info = tarfile.TarInfo("a.nii")
        info.size = len(nifti())
        packed.addfile(info, io.BytesIO(nifti()))
    return file.getvalue()


def npy_that_states(shape: tuple[int, ...], data: bytes = b"\0" * 8) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def mgh(sizes: tuple[int, ...] = (6, 5, 4, 1), kind: int = 4) -> bytes:
    return struct.pack(">7i", 1, *sizes, kind, 0).ljust(284, b"\0")


def gipl() -> bytes:
    """A file of the format as ITK writes it."""
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(sitk.GetImageFromArray(voxels()), f"{folder}/a.gipl")
        return Path(f"{folder}/a.gipl").read_bytes()


HUGE = "2048 2048 2048"
VTK = (b"# vtk DataFile Version 3.0\nx\nBINARY\nDATASET STRUCTURED_POINTS\nDIMENSIONS 6 5 4\nSPACING 1 1 3\n"
       b"ORIGIN 0 0 0\nPOINT_DATA 120\nSCALARS s short 1\nLOOKUP_TABLE default\n")
BAD: dict[str, tuple[str, bytes, str]] = {  # what it is: (name, content, what the message says)
    "an empty NIfTI": ("a.nii.gz", b"", "is empty"),
    "an empty NRRD": ("a.nrrd", b"", "is empty"),
    "a packed nothing": ("a.nii.gz", gzip.compress(b""), "is empty"),
    "a pointer of Git LFS": ("a.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "a pointer of git-annex": ("a.nrrd", b"/annex/objects/SHA256E-s9--1.nrrd\n", "git annex get"),
    "a web page": ("a.nii.gz", b"<!DOCTYPE html>\n<html><body>404</body></html>", "web page"),
    "a web page of older kind": ("a.nrrd", b"\n<html><head>", "web page"),
    "XML": ("a.nii", b"<?xml version='1.0'?><Error/>", "XML"),
    "text": ("a.nii", b"hello, this is a note\n", "it is text"),
    "a table": ("a.csv", b"1,2\n", "text beside"),
    "a zip": ("a.zip", archive(a_nii=nifti()), "Unpack it"),
    "a zip named as a volume": ("a.nii.gz", archive(a_nii=nifti()), "Unpack it"),
    "a tar.gz": ("a.tar.gz", tar(), "Unpack it"),
    "a 7z": ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(50), "Unpack it"),
    "a rar": ("a.rar", b"Rar!\x1a\x07\0" + bytes(50), "Unpack it"),
    "xz": ("a.nii.xz", b"\xfd7zXZ\0" + bytes(50), "unxz"),
    "bzip2": ("a.nii.bz2", bz2.compress(nifti()), "bunzip2"),
    "zstd": ("a.nii.zst", b"\x28\xb5\x2f\xfd" + bytes(50), "unzstd"),
    "a .npy": ("a.npy", npy(voxels()), "no spacing"),
    "a pickle": ("a.pkl", pickle.dumps([1]), "never opened"),
    "a pickle named as a volume": ("a.nii", pickle.dumps([1], protocol=4), "never opened"),
    "a model of torch": ("a.pt", archive(data_pkl=b"x"), "never opened"),
    "MATLAB": ("a.mat", b"MATLAB 5.0 MAT-file".ljust(200), "niftiwrite"),
    "MINC 1": ("a.mnc", b"CDF\x01" + bytes(50), "mnc2nii"),
    "HDF5": ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    "AFNI": ("a+orig.BRIK", bytes(range(256)), "3dAFNItoNIFTI"),
    "PAR/REC": ("a.PAR", b"# === DATA DESCRIPTION FILE ===\n", "dcm2niix"),
    "a VTK image": ("a.vti", b'<?xml version="1.0"?><VTKFile type="ImageData"/>', "ParaView"),
    "a VTK surface": ("a.vtk", b"# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\n", "surface"),
    "STL": ("a.stl", b"solid x\n", "surface"),
    "PLY": ("a.ply", b"ply\nformat ascii 1.0\n", "surface"),
    "a scene": ("a.mrml", b"<MRML/>", "3D Slicer"),
    "a packed scene": ("a.mrb", archive(a_mrml=b"<MRML/>"), "3D Slicer"),
    "a sequence": ("a.seq.nrrd", nrrd(), "sequence"),
    "a PDF": ("a.pdf", b"%PDF-1.4\n", "PDF"),
    "a GIF": ("a.gif", b"GIF89a" + bytes(50), "PNG"),
    "noise": ("a.nii", bytes(range(128, 256)) * 4, "format is not known"),
    "gzip that is damaged": ("a.nii.gz", gzip.compress(nifti())[:40] + b"\xff" * 60, "damaged"),
    "gzip that ends early": ("a.nii.gz", gzip.compress(nifti())[:-30], "ends early"),
    "NRRD cut short": ("a.nrrd", nrrd(DATA[:-2]), "ends early, after 238 of 240"),
    "NRRD that is longer": ("a.nrrd", nrrd(DATA + b"\0\0"), "longer than its header tells"),
    "NRRD of huge sizes": ("a.nrrd", nrrd(sizes=HUGE), "ends early"),
    "packed NRRD of huge sizes": ("a.nrrd", nrrd(gzip.compress(DATA), sizes=HUGE, encoding="gzip"), "ends early"),
    "packed NRRD of larger sizes": ("a.nrrd", nrrd(gzip.compress(DATA), sizes="6 5 5", encoding="gzip"), "ends early"),
    "packed NRRD that is longer": ("a.nrrd", nrrd(gzip.compress(DATA), sizes="6 5 3", encoding="gzip"), "longer"),
    "NRRD whose gzip is damaged": ("a.nrrd", nrrd(b"\x1f\x8b" + b"\xff" * 60, encoding="gzip"), "damaged"),
    "bzip2 of larger sizes": ("a.nrrd", nrrd(bz2.compress(DATA), sizes=HUGE.replace("2048", "999"), encoding="bzip2"),
                              "ends early"),
    "bzip2 that is damaged": ("a.nrrd", nrrd(b"BZh9" + b"\xff" * 60, encoding="bzip2"), "damaged"),
    "an unknown packing": ("a.nrrd", nrrd(encoding="zstd"), "'zstd'"),
    "hex that is none": ("a.nrrd", nrrd(b"zz" * 240, encoding="hex"), "numbers as text"),
    "text that is no number": ("a.nrrd", nrrd(b"1 2 three " * 60, encoding="ascii"), "numbers as text"),
    "NRRD of blocks": ("a.nrrd", nrrd(type="block"), "no number"),
    "NRRD of no byte order": ("a.nrrd", nrrd(endian="middle"), "byte order"),
    "NRRD of negative sizes": ("a.nrrd", nrrd(sizes="6 5 -4"), "dimensions"),
    "NRRD of too few sizes": ("a.nrrd", nrrd(sizes="6 5"), "dimensions"),
    "NRRD of NaN spacing": ("a.nrrd", nrrd(space_directions="(1,0,0) (0,1,0) (0,0,nan)"), "spacing"),
    "NRRD of no spacing": ("a.nrrd", nrrd(space_directions="(1,0,0) (0,1,0) (0,0,0)"), "spacing"),
    "NRRD of text for numbers": ("a.nrrd", nrrd(space_origin="(a,b,c)"), "header is damaged"),
    "NRRD of two origins": ("a.nrrd", nrrd(more="space origin: (1,1,1)\n"), "header is damaged"),
    "NRRD without sizes": ("a.nrrd", nrrd().replace(b"sizes", b"seizs"), "lacks sizes"),
    "sheared NRRD": ("a.nrrd", nrrd(space_directions="(1,0,0) (0,1,0) (0,0.3,3)"), "right angles"),
    "2D NRRD": ("a.nrrd", b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 6 5\nencoding: raw\n\n" + bytes(30),
                "one slice"),
    "NRRD in colour": ("a.nrrd", nrrd(sizes="3 10 8", kinds="RGB-color domain domain"), "one slice"),
    "NRRD of tracked frames": ("a.nrrd", nrrd(more="Seq_Frame0000_Timestamp:=1\n"), "tracked"),
    "data outside the folder": ("a.nhdr", nrrd(b"", "data file: ../secret.raw\n"), "outside its own folder"),
    "data in the system": ("a.nhdr", nrrd(b"", "data file: /etc/passwd\n"), "outside its own folder"),
    "missing data of NRRD": ("a.nhdr", nrrd(b"", "data file: b.raw\n"), "'b.raw' is missing"),
    "missing data of a list": ("a.nhdr", nrrd(b"", "data file: LIST\nb.raw\nc.raw").rstrip(), "'b.raw' is missing"),
    "missing data of a pattern": ("a.nhdr", nrrd(b"", "data file: b%03d.raw 1 4 1\n"), "'b001.raw' is missing"),
    "a hostile pattern": ("a.nhdr", nrrd(b"", "data file: b%0999999999d.raw 1 4 1\n"), "pattern"),
    "a pattern without end": ("a.nhdr", nrrd(b"", "data file: b%d.raw 1 999999999 1\n"), "pattern"),
    "MetaImage cut short": ("a.mha", meta(DATA[:-2]), "ends early, after 238 of 240"),
    "MetaImage that is longer": ("a.mha", meta(DATA + b"\0\0"), "longer than its header tells"),
    "MetaImage of huge sizes": ("a.mha", meta(DimSize=HUGE), "ends early"),
    "packed MetaImage of huge sizes": ("a.mha", meta(zlib.compress(DATA), DimSize=HUGE, CompressedData="True"), "ends"),
    "packed MetaImage cut short": ("a.mha", meta(zlib.compress(DATA)[:-20], CompressedData="True"), "ends early"),
    "packed MetaImage damaged": ("a.mha", meta(b"\x78\x9c" + b"\xff" * 60, CompressedData="True"), "damaged"),
    "MetaImage of zero spacing": ("a.mha", meta(ElementSpacing="1 1 0"), "spacing"),
    "MetaImage of NaN spacing": ("a.mha", meta(ElementSpacing="1 1 nan"), "spacing"),
    "MetaImage of text for sizes": ("a.mha", meta(DimSize="a b c"), "whole numbers"),
    "MetaImage of another type": ("a.mha", meta(ElementType="MET_STRING"), "no number"),
    "MetaImage without data": ("a.mha", meta().split(b"ElementDataFile")[0], "lacks ElementDataFile"),
    "sheared MetaImage": ("a.mha", meta(TransformMatrix="1 0 0 0 1 0 0 0.1 0.995"), "right angles"),
    "2D MetaImage": ("a.mha", meta(NDims="2", DimSize="6 5"), "one slice"),
    "MetaImage of colours": ("a.mha", meta(DATA * 3, "ElementNumberOfChannels = 3\n"), "3 values per voxel"),
    "missing data of MetaImage": ("a.mhd", meta(b"", ElementDataFile="b.raw"), "'b.raw' is missing"),
    "MetaImage over the system": ("a.mhd", meta(b"", ElementDataFile="/etc/passwd"), "outside its own folder"),
    "MetaImage of tracked frames": ("a.mha", meta(more="NDims = 3\nSeq_Frame0000_Timestamp = 1\n"), "tracked"),
    "NIfTI of voxels nowhere": ("a.nii", nifti((108, struct.pack("<f", float("nan")))), "begin at byte nan"),
    "NIfTI of voxels before it": ("a.nii", nifti((108, struct.pack("<f", -5))), "begin at byte -5"),
    "NIfTI of voxels in its header": ("a.nii", nifti((108, struct.pack("<f", 100))), "begin at byte 100"),
    "NIfTI of voxels behind it": ("a.nii", nifti((108, struct.pack("<f", 1e9))), "ends early"),
    "NIfTI of huge sizes": ("a.nii", nifti((42, struct.pack("<3h", 9999, 9999, 9999))), "ends early"),
    "packed NIfTI of huge sizes": ("a.nii.gz", gzip.compress(nifti((42, struct.pack("<3h", 9999, 999, 999)))), "ends"),
    "NIfTI of no size": ("a.nii", nifti((42, struct.pack("<3h", 6, 0, 4))), "dimensions"),
    "NIfTI of 99 dimensions": ("a.nii", nifti((40, struct.pack("<h", 99))), "dimensions"),
    "5D NIfTI": ("a.nii", nifti((40, struct.pack("<6h", 5, 6, 5, 2, 1, 2))), "5 dimensions"),
    "NIfTI of another type": ("a.nii", nifti((70, struct.pack("<h", 999))), "type of voxels"),
    "NIfTI of bits": ("a.nii", nifti((70, struct.pack("<h", 1))), "type"),
    "4D NIfTI": ("a.nii", nifti((40, struct.pack("<5h", 4, 6, 5, 2, 2))), "--volume-number, 1 to 2"),
    "NIfTI of half a pair": ("a.hdr", nifti((344, b"ni1\0"), data=b"")[:348], "'a.img' is missing"),
    "voxels without their header": ("a.img", bytes(range(128, 256)), "'a.hdr', is missing"),
    "Analyze of half a pair": ("a.hdr", nifti((344, b"\0\0\0\0"), (108, bytes(4)), data=b"")[:348], "is missing"),
    "MGH of huge sizes": ("a.mgh", mgh((2000, 2000, 2000, 1)), "ends early"),
    "MGH of another type": ("a.mgh", mgh(kind=77), "damaged"),
    "text as .npz spacing": ("a.npz", npz(spacing=np.array(["a", "b", "c"])), "all numbers"),
    "NaN as .npz spacing": ("a.npz", npz(spacing=np.full(3, np.nan)), "positive"),
    "objects in .npz": ("a.npz", npz(array=np.array([None] * 8).reshape(2, 2, 2)), "type object"),
    ".npz of huge sizes": ("a.npz", archive(
        array_npy=npy_that_states((2048, 2048, 2048)), origin_npy=npy(np.zeros(3)), spacing_npy=npy(np.ones(3)),
        direction_npy=npy(np.eye(3))), "ends early"),
    ".npz cut short": ("a.npz", npz()[:-200], "numpy.savez"),
    "legacy VTK cut short": ("a.vtk", VTK + voxels(">i2").tobytes()[:-2], "ends early"),
    "legacy VTK of huge sizes": ("a.vtk", VTK.replace(b"6 5 4", HUGE.encode()) + DATA, "ends early"),
    "GIPL cut short": ("a.gipl", gipl()[:-2], "ends early"),
    "a damaged picture": ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "cannot be read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_named_for_what_they_are(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    name, content, words = BAD[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert words in message and str(path) in message
    assert FOREIGN.search(message.replace(str(tmp_path), "")) is None
    assert capfd.readouterr() == ("", "")
    assert path.read_bytes() == content and os.listdir(tmp_path) == [name]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


@pytest.mark.skipif(os.name == "nt", reason="POSIX alone has pipes, sockets and devices with names")
@pytest.mark.parametrize("make", [_pipe, _socket, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.nii")
    with pytest.raises(InputError, match="no file"):
        read_image(tmp_path / "a.nii")
    (tmp_path / "a.nhdr").write_bytes(nrrd(b"", "data file: a.nii\n"))
    with pytest.raises(InputError, match="no file"):
        read_image(tmp_path / "a.nhdr")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize(("target", "words"), [(".git/annex/objects/x", "git annex get"), ("gone.nii", "link to")])
def test_links_that_lead_nowhere_are_named(tmp_path: Path, target: str, words: str) -> None:
    (tmp_path / "a.nii").symlink_to(target)
    with pytest.raises(InputError, match=words):
        read_image(tmp_path / "a.nii")


def test_a_folder_of_volumes_names_a_file_to_give(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(nifti())
    with pytest.raises(InputError, match=r"'a\.nii\.gz'"):
        read_image(tmp_path)


ODD: dict[str, tuple[str, bytes]] = {  # what is read in spite of its name or packing
    "NIfTI packed under a plain name": ("a.nii", gzip.compress(nifti())),
    "plain NIfTI under a packed name": ("a.nii.gz", nifti()),
    "NIfTI in capitals": ("A.NII.GZ", gzip.compress(nifti())),
    "NIfTI named .img": ("a.img", nifti()),
    "NIfTI named .dat": ("a.dat", nifti()),
    "NIfTI without an extension": ("a", nifti()),
    "NIfTI with an infinite slope": ("a.nii", nifti((112, struct.pack("<2f", float("inf"), 5)))),
    "NIfTI of more bytes": ("a.nii", nifti(data=DATA + bytes(9))),
    "NRRD named .dat": ("a.dat", nrrd()),
    "NRRD with data inside, named .nhdr": ("a.nhdr", nrrd()),
    "NRRD packed as a whole": ("a.nrrd.gz", gzip.compress(nrrd())),
    "NRRD packed twice": ("a.nrrd.gz", gzip.compress(nrrd(gzip.compress(DATA), encoding="gzip"))),
    "NRRD in hex": ("a.nrrd", nrrd(DATA.hex().encode(), encoding="hex")),
    "NRRD in text": ("a.nrrd", nrrd(" ".join(map(str, voxels().ravel())).encode(), encoding="ascii")),
    "NRRD with Windows' ends of lines": ("a.nrrd", nrrd(b"").replace(b"\n", b"\r\n") + DATA),
    "NRRD with bytes to skip": ("a.nrrd", nrrd(b"12345" + DATA, "byte skip: 5\n")),
    "NRRD with lines to skip": ("a.nrrd", nrrd(b"1\n2\n" + DATA, "line skip: 2\n")),
    "NRRD that ends in its voxels": ("a.nrrd", nrrd(b"123" + DATA, "byte skip: -1\n")),
    "MetaImage named .mhd": ("a.mhd", meta()),
    "MetaImage packed as a whole": ("a.mha.gz", gzip.compress(meta())),
    "MetaImage in text": ("a.mha", meta(" ".join(map(str, voxels().ravel())).encode(), BinaryData="False")),
    ".npz named .zip": ("a.zip", npz()),
    "legacy VTK": ("a.vtk", VTK + voxels(">i2").tobytes()),
    "GIPL": ("a.gipl", gipl()),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_files_are_read(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    name, content = ODD[kind]
    (tmp_path / name).write_bytes(content)
    language = locale.setlocale(locale.LC_ALL)
    image = read_image(tmp_path / name)
    assert locale.setlocale(locale.LC_ALL) == language
    np.testing.assert_array_equal(image.array, voxels())
    assert image.array.dtype == np.int16 and image.array.dtype.isnative
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / name).read_bytes() == content
