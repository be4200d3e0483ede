"""The digits: found or unpacked, checked, and read by torchvision into one tensor.

Torchvision takes a second to import, which is spent only where digits are read.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import DataError, UnknownNameError, message_of
from ..files import caches
from . import mnist


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 28, 28) float32, standardised with the training pixels' mean and deviation; labels (N,) int64."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    checksum: str
    """Checksum of the four files: equal checksums, equal digits."""

    def to(self, device: str) -> "Digits":
        """Return the digits with all tensors on a device."""
        return Digits(
            self.train_images.to(device),
            self.train_labels.to(device),
            self.test_images.to(device),
            self.test_labels.to(device),
            self.checksum,
        )


def load(dataset: str = "mnist", data_dir: Path | None = None) -> Digits:
    """Read a dataset.

    Args:
        dataset: "mnist", which travels with this package, or "fashion-mnist", which torchvision downloads once.
        data_dir: your own copy, laid out as torchvision does: `data_dir/MNIST/raw` or `data_dir/FashionMNIST/raw`.

    Raises:
        UnknownNameError: no such dataset.
        DataError: a file is missing or damaged, or could not be downloaded; the message names it.
    """
    name, root, found = _found(dataset, data_dir)
    reader = _reader(name)
    try:
        train, test = reader(root, train=True), reader(root, train=False)
    except (RuntimeError, ValueError, AssertionError, OSError, EOFError) as error:
        where = f"{str(root)!r} (once removed, it is made anew)" if data_dir is None else f"data_dir = {str(root)!r}"
        raise DataError(f"{where}: torchvision cannot read it ({message_of(error)})") from None
    pixels = train.data.float() / 255
    mean, std = pixels.mean(), pixels.std()

    def standardised(images: torch.Tensor) -> torch.Tensor:
        return images.float().div_(255).sub_(mean).div_(std).unsqueeze_(1)

    return Digits(standardised(train.data), train.targets, standardised(test.data), test.targets, found)


def checksum(dataset: str = "mnist", data_dir: Path | None = None) -> str:
    """Return what `load` would say of the digits, without reading them; raises what it raises."""
    return _found(dataset, data_dir)[2]


def _found(dataset: str, data_dir: Path | None) -> tuple[str, Path, str]:
    """Return torchvision's name of a dataset, the folder it is in, and the checksum of what lies there."""
    if dataset not in _SOURCES:
        raise UnknownNameError.among("dataset", dataset, _SOURCES)
    name, prepare = _SOURCES[dataset]
    root = Path(data_dir) if data_dir is not None else prepare()
    known = mnist.FILES if name == "MNIST" else dict.fromkeys(mnist.FILES)
    return name, root, mnist.checksum(_check(root / name / "raw", known))


def _reader(name: str):
    from torchvision import datasets

    return getattr(datasets, name)


def unpacked() -> Path:
    """Return the folder of the package's own digits, unpacked and checked in the user's cache.

    They are unpacked again where they are damaged.
    """
    return _install(caches.folder_or_temporary() / "mnist", Path("MNIST", "raw"), mnist.FILES, _unpack_into)


def _unpack_into(root: Path) -> None:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in mnist.FILES:
        try:
            (folder / name).write_bytes(mnist.unpack(name))
        except OSError as error:
            raise DataError(f"{name}: cannot be written ({error.strerror or error})") from None
    _check(folder, mnist.FILES)


def _download_fashion_mnist() -> Path:
    """Return the folder of Fashion-MNIST, downloaded by torchvision into the user's cache if it is not there."""
    root, files = caches.folder_or_temporary() / "fashion-mnist", dict.fromkeys(mnist.FILES)
    return _install(
        root, Path("FashionMNIST", "raw"), files, lambda fresh: _reader("FashionMNIST")(fresh, download=True)
    )


_SOURCES = {
    "mnist": ("MNIST", unpacked),
    "fashion-mnist": ("FashionMNIST", _download_fashion_mnist),
}


def _install(root: Path, folder: Path, checksums: Mapping[str, str | None], fill: Callable[[Path], object]) -> Path:
    """Return the folder of a dataset, filled where one of its files is missing or damaged."""

    def is_whole() -> bool:
        try:
            return bool(_check(root / folder, checksums))
        except DataError:
            return False

    try:
        return caches.filled(root, is_whole, fill)
    except (OSError, RuntimeError) as error:
        raise DataError(f"cannot prepare {str(root)!r} ({message_of(error)})") from None


def _check(folder: Path, checksums: Mapping[str, str | None]) -> list[str]:
    """Check that every file is there, with its SHA-256 where one is known; return those found."""
    all_found = []
    for name, expected in checksums.items():
        try:
            with open(folder / name, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{str(folder / name)!r}: cannot be read ({error.strerror or error})") from None
        if expected is not None and found != expected:
            raise DataError(f"{str(folder / name)!r}: damaged, expected SHA-256 {expected}, found {found}")
        all_found.append(found)
    return all_found
