"""What VOLUME and the options that go with it mean."""
from __future__ import annotations

from argparse import Namespace

from ..data.images import Image
from ..io.readers import read_image


def read_volume(arguments: Namespace) -> Image:
    """Read VOLUME; raises InputError for what cannot be read."""
    return read_image(arguments.volume, series=arguments.series, volume_number=arguments.volume_number,
                      spacing=arguments.spacing)
