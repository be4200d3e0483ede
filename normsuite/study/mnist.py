"""The digits that travel with this package: their files, what they have to be, and their pictures. Imports no torch."""

import hashlib
import lzma
from functools import cache
from importlib import resources

import numpy as np

from ..errors import DataError, message_of

# SHA-256 of each file once decompressed, from the data's notice.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

_HEADER = 16
"""Bytes in front of the pixels of an IDX file of images."""


def checksum(of_files: list[str]) -> str:
    """Return the checksum of a dataset, from the SHA-256 of its four files in the order of `FILES`."""
    return hashlib.sha256("".join(of_files).encode()).hexdigest()


def unpack(name: str) -> bytes:
    """Return one of the files, decompressed.

    Raises:
        DataError: it is damaged.
    """
    try:
        packed = (resources.files(__package__.rpartition(".")[0]) / "data" / "mnist" / f"{name}.xz").read_bytes()
        return lzma.decompress(packed)
    except (OSError, lzma.LZMAError) as error:
        raise DataError(f"{name}.xz: cannot be unpacked ({message_of(error)})") from None


@cache
def test_pictures() -> np.ndarray:
    """Return the test digits, (10000, 28, 28) of uint8."""
    pixels = np.frombuffer(unpack("t10k-images-idx3-ubyte"), dtype=np.uint8, offset=_HEADER)
    return pixels.reshape(-1, 28, 28)
