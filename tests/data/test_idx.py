"""MNIST and its relatives, from IDX files on a mirror to arrays."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnnpipe.catalogue import DATASETS, load_target
from rnnpipe.config.data import DataConfig
from rnnpipe.data.idx import load_emnist, load_idx
from rnnpipe.data.mirrors import unpacked_path
from rnnpipe.errors import DataError

IMAGES = "train_images-idx3-ubyte.gz"
MNIST_FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "mnist"


def test_idx_files_become_a_dataset(make_idx, start_mirror, tmp_path, monkeypatch):
    dataset = make_idx()
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [start_mirror(dataset.served).url])
    raw = load_idx(dataset.spec, DataConfig(name="mnist"), tmp_path)
    np.testing.assert_array_equal(raw.train_images_NHW, dataset.arrays["train_images"])
    np.testing.assert_array_equal(raw.test_labels_N, dataset.arrays["test_labels"])
    assert raw.train_labels_N.dtype == np.int64
    assert unpacked_path(tmp_path / "mnist", dataset.spec.files[0]).exists()


MISFITS = {
    "fewer labels": (lambda a: a.update(train_labels=a["train_labels"][1:]), "30 images, but 29 labels"),
    "unknown class": (lambda a: a["test_labels"].put(0, 3), "beyond the 3 classes"),
    "other size": (lambda a: a.update(test_images=a["test_images"][:, :4]), r"\(4, 5\)"),
    "labels as images": (lambda a: a.update(train_images=a["train_labels"]), "not images and labels"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_files_that_do_not_fit_together(misfit, make_idx, start_mirror, tmp_path):
    change, words = MISFITS[misfit]
    dataset = make_idx(change)
    config = DataConfig(name="mnist", mirrors=(start_mirror(dataset.served).url,))
    with pytest.raises(DataError, match=words):
        load_idx(dataset.spec, config, tmp_path)


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"gzip/{name}", content)
    return buffer.getvalue()


def test_emnist_is_upright_and_its_zip_is_asked_last(make_idx, start_mirror, tmp_path, monkeypatch):
    dataset = make_idx(torchvision_class="EMNIST")
    partial = start_mirror({IMAGES: dataset.served[IMAGES]})
    source = start_mirror({"gzip.zip": zip_of(dataset.served)})
    monkeypatch.setattr("torchvision.datasets.EMNIST.url", f"{source.url}/gzip.zip")
    raw = load_emnist(dataset.spec, DataConfig(name="emnist-digits", mirrors=(partial.url,)), tmp_path)
    np.testing.assert_array_equal(raw.train_images_NHW, dataset.arrays["train_images"].transpose(0, 2, 1))
    assert source.asked == ["gzip.zip"]
    config = DataConfig(name="emnist-digits", mirrors=(start_mirror(dataset.served).url,))
    load_emnist(dataset.spec, config, tmp_path / "other")
    assert source.asked == ["gzip.zip"]


@pytest.mark.parametrize(
    "bundle",
    [b"no zip file", zip_of({}), zip_of({IMAGES: b"not gzip"})],
    ids=["no zip", "empty", "no gzip inside"],
)
def test_a_bad_zip_is_listed_with_the_mirrors(bundle, make_idx, start_mirror, tmp_path, monkeypatch):
    dataset = make_idx(torchvision_class="EMNIST")
    source = start_mirror({"gzip.zip": bundle})
    monkeypatch.setattr("torchvision.datasets.EMNIST.url", f"{source.url}/gzip.zip")
    with pytest.raises(DataError, match=r"gzip\.zip: "):
        load_emnist(dataset.spec, DataConfig(name="emnist-digits"), tmp_path)


def test_every_downloaded_dataset_states_four_files_and_their_digests():
    specs = [spec for spec in DATASETS.values() if spec.files]
    assert len(specs) >= 4
    for spec in specs:
        assert [file.role for file in spec.files] == [
            "train_images", "train_labels", "test_images", "test_labels",
        ]  # fmt: skip
        assert all(len(file.sha256 or file.archive_sha256) == 64 for file in spec.files)


@pytest.mark.skipif(not MNIST_FOLDER.is_dir(), reason="needs the real MNIST files")
def test_the_real_mnist_verifies_and_loads(start_mirror, tmp_path):
    mirror = start_mirror({path.name: path.read_bytes() for path in MNIST_FOLDER.iterdir()})
    spec, config = DATASETS["mnist"], DataConfig(name="mnist", mirrors=(mirror.url,))
    raw = load_target(spec.load)(spec, config, tmp_path)
    assert raw.train_images_NHW.shape == (60_000, 28, 28)
    assert raw.test_images_NHW.shape == (10_000, 28, 28)
    assert raw.train_labels_N[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(raw.test_labels_N).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(raw.train_images_NHW.mean() / 255, 4) == 0.1307
