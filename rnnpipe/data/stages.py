"""The two stages of the data: a dataset in the store, and its splits as sequences.

Shapes: N images of H x W pixels, sequences of T steps with I features. Everything stays uint8 and on disk.
The transforms bring torch; planning does without.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np

from rnnpipe.catalogue import DATASETS, SEQUENCES, DatasetSpec, load_target
from rnnpipe.config.sections import DataConfig, SequenceConfig
from rnnpipe.data.arrays import pixel_statistics, write_array, write_pixels
from rnnpipe.data.profile import profile_of
from rnnpipe.data.raw import Labels, Pixels, RawDataset
from rnnpipe.data.splits import Indices, Splitter
from rnnpipe.errors import DataError
from rnnpipe.files import digest_of, sha256_tree, write_json
from rnnpipe.plugins import code_of
from rnnpipe.references import Recipe, StageRef
from rnnpipe.store import LOG_FOLDER, Entry

DATASET_STAGE = "datasets"
SEQUENCES_STAGE = "sequences"
TEST_IMAGES_FILE = "test_images.npy"
# Pictures change with matplotlib's version: they are no part of the content's digest.
SAMPLES = f"{LOG_FOLDER}/samples.png"
PROFILE = f"{LOG_FOLDER}/profile.json"
# The fields of SequenceConfig that only one transform reads.
TRANSFORM_FIELDS = {"permuted": {"permutation_seed"}, "patches": {"patch_size"}}


@dataclass(frozen=True)
class Split:
    """One split: pixels memory-mapped copy-on-write (torch takes them as they are), and class numbers."""

    x_NTI: Pixels
    y_N: Labels


def dataset_recipe(config: DataConfig) -> Recipe:
    """Return what a dataset is made from; for a folder of images, it reads and digests them all."""
    spec = DATASETS[config.name]
    data: dict[str, Any] = {"name": config.name, "content": _content_digest(spec, config)}
    if config.name == "folder":
        from rnnpipe.data.folder import image_size_of

        data["image_size"] = list(image_size_of(config))
    if not spec.has_test_split:
        data |= config.model_dump(include={"test_fraction", "split_seed"})
    return Recipe(stage=DATASET_STAGE, inputs={"data": data, "code": _code_digest(), **code_of(spec.load)})


def build_dataset(config: DataConfig, downloads: Path, folder: Path) -> dict[str, Any]:
    """Write train and test images and labels to `folder`, with samples and a profile, and return the facts.

    `downloads` keeps the files of downloaded datasets. DataError where the images can't be had or split.
    """
    from rnnpipe.data.pictures import save_samples

    spec = DATASETS[config.name]
    raw: RawDataset = load_target(spec.load)(spec, config, downloads)
    images_NHW, labels_N = raw.train_images_NHW, raw.train_labels_N
    if raw.test_images_NHW is None or raw.test_labels_N is None:
        splitter = Splitter(config.name, raw.classes, config.split_seed)
        train, test = splitter.hold_out(labels_N, config.test_fraction, "data.test_fraction")
        test_images_NHW, test_labels_N = images_NHW, labels_N
    else:
        test_images_NHW, test_labels_N = raw.test_images_NHW, raw.test_labels_N
        train, test = np.arange(len(labels_N)), np.arange(len(test_labels_N))
    image_size = (images_NHW.shape[1], images_NHW.shape[2])
    write_pixels(folder / "train_images.npy", images_NHW, train, item_shape=image_size)
    write_array(folder / "train_labels.npy", labels_N[train])
    write_pixels(folder / TEST_IMAGES_FILE, test_images_NHW, test, item_shape=image_size)
    write_array(folder / "test_labels.npy", test_labels_N[test])
    (folder / LOG_FOLDER).mkdir(exist_ok=True)
    save_samples(folder / SAMPLES, images_NHW, labels_N, raw.classes)
    write_json(folder / PROFILE, profile_of(images_NHW, labels_N, train, raw.classes).model_dump(mode="json"))
    return {
        "name": config.name, "classes": list(raw.classes), "image_size": list(image_size),
        "train": len(train), "test": len(test),
    }  # fmt: skip


def sequences_recipe(dataset: StageRef, data: DataConfig, sequence: SequenceConfig) -> Recipe:
    """Return what sequences are made from; only the settings that their transform reads."""
    fields = {"name", "scaling"} | TRANSFORM_FIELDS.get(sequence.name, set())
    inputs = {
        "dataset": dataset.digest,
        "data": data.model_dump(include={"validation_fraction", "split_seed", "limit"}),
        "sequence": sequence.model_dump(include=fields),
        "code": _code_digest(),
        **code_of(SEQUENCES[sequence.name].build),
    }
    return Recipe(stage=SEQUENCES_STAGE, inputs=inputs)


def build_sequences(dataset: Entry, data: DataConfig, sequence: SequenceConfig, folder: Path) -> dict[str, Any]:
    """Write the train, validation and test sequences of a dataset to `folder` and return the facts.

    ConfigError where the transform doesn't fit the images, DataError where the images can't be split.
    """
    import torch

    from rnnpipe.data.sequences import build_transform

    known = dataset.ref.facts
    classes, image_size = tuple(known["classes"]), (known["image_size"][0], known["image_size"][1])
    transform = build_transform(image_size, sequence)
    train_labels_N = _load_labels(dataset.path / "train_labels.npy")
    parts = _training_parts(train_labels_N, data, Splitter(known["name"], classes, data.split_seed))
    parts["test"] = np.arange(known["test"])
    for split, chosen in parts.items():
        source = "test" if split == "test" else "train"
        images_NHW = _open(dataset.path / f"{source}_images.npy")
        labels_N = _load_labels(dataset.path / f"{source}_labels.npy")
        write_pixels(
            folder / f"{split}_x.npy", images_NHW, chosen,
            item_shape=(transform.steps, transform.features),
            transform=lambda piece_NHW: transform(torch.from_numpy(piece_NHW)).numpy(),
        )  # fmt: skip
        write_array(folder / f"{split}_y.npy", labels_N[chosen])
    return {
        "dataset": {"name": known["name"], "digest": dataset.ref.digest},
        "classes": list(classes), "image_size": list(image_size), "sequence": sequence.model_dump(mode="json"),
        "steps": transform.steps, "features": transform.features,
        **{split: len(parts.get(split, ())) for split in ("train", "validation", "test")},
        **asdict(pixel_statistics(_open(folder / "train_x.npy"))),
    }  # fmt: skip


def open_split(folder: Path, split: Literal["train", "validation", "test"]) -> Split | None:
    """Open a split of a sequences folder; None where it is empty (validation_fraction 0)."""
    path = folder / f"{split}_x.npy"
    if not path.exists():
        return None
    return Split(_open(path), _load_labels(folder / f"{split}_y.npy"))


def _open(path: Path) -> Pixels:
    pixels: Pixels = _checked(path, "u1", "c")
    return pixels


def _load_labels(path: Path) -> Labels:
    labels: Labels = _checked(path, "i8", None)
    return labels


def _checked(path: Path, kind: str, mode: Literal["c"] | None) -> Any:
    """Return the array in a file, in mode "c" memory-mapped copy-on-write; DataError for another kind."""
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype != np.dtype(kind):
            raise ValueError(f"not an array of {np.dtype(kind)}")
    except (OSError, ValueError, EOFError, MemoryError, TokenError) as error:
        raise DataError(f"{path}: can't be read: {error}", "remove its folder, and run again") from None
    return array


def _training_parts(labels_N: Labels, data: DataConfig, splitter: Splitter) -> dict[str, Indices]:
    used = splitter.limit(labels_N, data.limit or len(labels_N))
    if not data.validation_fraction:
        return {"train": used}
    kept, held = splitter.hold_out(labels_N[used], data.validation_fraction, "data.validation_fraction")
    return {"train": used[kept], "validation": used[held]}


def _content_digest(spec: DatasetSpec, config: DataConfig) -> str:
    if config.name == "folder":
        from rnnpipe.data.folder import folder_digest

        return folder_digest(config)
    files = {file.role: file.sha256 or file.archive_sha256 for file in spec.files}
    return digest_of({"files": files, "classes": spec.classes})


def _code_digest() -> str:
    return sha256_tree(Path(__file__).parent)
