"""The digits: unpacked and checked, or refused by name."""

import shutil
import urllib.error

import pytest
import torch
from torchvision import datasets

from normsuite.errors import DataError, OutputError, UnknownNameError
from normsuite.files import caches
from normsuite.study import digits


def test_the_digits_are_mnist(digits):
    assert digits.train_images.shape == (60_000, 1, 28, 28) and digits.test_images.shape == (10_000, 1, 28, 28)
    assert torch.bincount(digits.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(digits.train_images.mean()) < 1e-4 and abs(digits.train_images.std() - 1) < 1e-4


@pytest.fixture
def own_copy(digits_cache, digits, tmp_path):
    shutil.copytree(digits_cache / "normsuite" / "mnist", tmp_path / "own")
    return tmp_path / "own"


def test_an_own_copy_is_read(own_copy, digits):
    from normsuite.study.digits import load

    assert torch.equal(load("mnist", own_copy).test_images, digits.test_images)


def test_a_damaged_file_is_named_with_both_checksums(own_copy):
    file = own_copy / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.*expected SHA-256 ff7bcfd4.*found [0-9a-f]{64}$"):
        digits.load("mnist", own_copy)


def test_a_missing_file_is_named(own_copy):
    (own_copy / "MNIST" / "raw" / "train-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.*No such file"):
        digits.load("mnist", own_copy)


def test_an_unknown_dataset_is_named():
    with pytest.raises(UnknownNameError, match="dataset = 'cifar': unknown; known are mnist, fashion-mnist"):
        digits.load("cifar")


def test_a_damaged_cache_is_unpacked_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    digits.load()
    file = tmp_path / "normsuite" / "mnist" / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    digits.load()
    assert file.read_bytes() == whole
    assert [p.name for p in (tmp_path / "normsuite").iterdir()] == ["mnist"]


def test_a_download_without_network_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    def no_network(*arguments, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(DataError, match=r"fashion-mnist'") as caught:
        digits.load("fashion-mnist")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "normsuite").iterdir()) == []


def test_fashion_mnist_is_read_from_a_folder_by_torchvision(own_copy):
    (own_copy / "MNIST").rename(own_copy / datasets.FashionMNIST.__name__)
    assert len(digits.load("fashion-mnist", own_copy).test_labels) == 10_000


def test_without_a_cache_the_digits_lie_in_a_temporary_folder_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(caches.tempfile, "gettempdir", lambda: str(tmp_path))
    assert digits.unpacked().is_relative_to(tmp_path) and len(digits.load().test_labels) == 10_000
    monkeypatch.setattr(caches.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot write"):
        digits.load()
