"""What VOLUME and the options that go with it mean."""
from __future__ import annotations

from argparse import Namespace

from ..data.images import Image, Segmentation
from ..io.readers import read_image, read_segmentation


def read_volume(arguments: Namespace) -> Image:
    """Read VOLUME; raises InputError for what cannot be read."""
    return read_image(arguments.volume, series=arguments.series, volume_number=arguments.volume_number,
                      spacing=arguments.spacing)


def read_mask(arguments: Namespace, image: Image) -> Segmentation | None:
    """Read --mask of a volume; None without, raises InputError for what is no label map."""
    return read_segmentation(arguments.mask, image.grid) if arguments.mask else None


def chosen_slices(arguments: Namespace) -> str:
    """Return which slices to use, as `jobs.request.Request` has it."""
    if arguments.keep_every is not None:
        return f"every:{arguments.keep_every}"
    if arguments.hide_every is not None:
        return f"hide:{arguments.hide_every}"
    if arguments.keep_percent is not None:
        return f"{arguments.keep_percent}%"
    return "all" if arguments.slices is None else str(arguments.slices)
