"""What the value of an option may be: each function reads one, or says what is wrong with it."""
from __future__ import annotations

import argparse
import re

from ..config.names import LARGEST_SEED
from ..errors import InputError
from ..runtime.memory_limits import allowed_bytes


def path(text: str) -> str:
    """Read a path."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"'{text}' is no path of a file")
    return text


def spacing(text: str) -> str | float:
    """Read the spacing of a result."""
    if text in ("isotropic", "input"):
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither isotropic, input nor a number of mm") from None


def length(text: str) -> float:
    """Read a length in mm."""
    try:
        mm = float(text)
    except ValueError:
        mm = 0.0
    if not 0 < mm < 1e9:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number of mm")
    return mm


def positive(text: str) -> float:
    """Read a factor."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1e-6 < number < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return number


def window(text: str) -> tuple[float, float]:
    """Read centre and width of a window."""
    numbers = _numbers(text)
    if len(numbers) != 2 or not all(abs(x) < 1e9 for x in numbers) or numbers[1] <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no centre and width such as 40,400; the width is positive")
    return numbers[0], numbers[1]


def whole(text: str) -> int:
    """Read a number of at least 1."""
    if not re.fullmatch(r"0*[1-9]\d{0,6}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 to 9999999")
    return int(text)


def percent(text: str) -> float:
    """Read a percentage as a share."""
    try:
        share = float(text.removesuffix("%")) / 100.0
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no percentage from 0 to less than 100")
    return share


def amounts(text: str) -> tuple[float, float]:
    """Read an amount of motion: degrees and mm."""
    numbers = _numbers(text)
    if len(numbers) != 2 or not all(0 <= x < 1e3 for x in numbers):
        raise argparse.ArgumentTypeError(f"'{text}' is no pair of degrees and mm such as 2,1.5")
    return numbers[0], numbers[1]


def vector(text: str) -> tuple[float, ...]:
    """Read three numbers."""
    numbers = _numbers(text)
    if len(numbers) != 3 or not all(abs(x) < 1e9 for x in numbers):
        raise argparse.ArgumentTypeError(f"'{text}' is no list of three numbers such as 1,2.5,30")
    return numbers


def sides(text: str) -> tuple[float, ...]:
    """Read three lengths."""
    numbers = vector(text)
    if min(numbers) <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' holds a length that is not positive")
    return numbers


def memory(text: str) -> int:
    """Read how much memory may be used, in bytes."""
    try:
        return allowed_bytes(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def threads(text: str) -> int:
    """Read how many threads to use."""
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 on")
    return int(text)


def seed(text: str) -> int:
    """Read what random numbers start from."""
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0 to {LARGEST_SEED}")
    return int(text)


def _numbers(text: str) -> tuple[float, ...]:
    """The numbers between commas; none if any of them is no number."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return ()
