"""The two stages of the data: a dataset in the store, and its splits as sequences.

Shapes: N images of H x W pixels, sequences of T steps with I features. Everything stays uint8 and on disk;
series are float32 (series_stages.py).
The transforms bring torch; planning does without.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np

from rnnpipe.catalogue import DATASETS, SEQUENCES, DatasetSpec
from rnnpipe.config.data import DataConfig
from rnnpipe.config.sections import SequenceConfig
from rnnpipe.data.arrays import forget_pages, pixel_statistics, write_array, write_pixels
from rnnpipe.data.growing import UnusableImagesError, write_lazily
from rnnpipe.data.profile import profile_of
from rnnpipe.data.raw import Floats, Labels, Pixels, RawDataset
from rnnpipe.data.series import RawSeries, file_digest
from rnnpipe.data.series_stages import build_series, series_facts, series_file, write_chosen
from rnnpipe.data.splits import Indices, Splitter
from rnnpipe.errors import DataError
from rnnpipe.files import digest_of, sha256_tree, write_json
from rnnpipe.plugins import call_code, code_of
from rnnpipe.references import Recipe, StageRef
from rnnpipe.store import LOG_FOLDER, Entry

DATASET_STAGE = "datasets"
SEQUENCES_STAGE = "sequences"
TRAIN_IMAGES_FILE, TEST_IMAGES_FILE = "train_images.npy", "test_images.npy"
# Pictures change with matplotlib's version: they are no part of the content's digest.
SAMPLES = f"{LOG_FOLDER}/samples.png"
PROFILE = f"{LOG_FOLDER}/profile.json"
# The fields of SequenceConfig that only one transform of our own reads.
TRANSFORM_FIELDS = {"permuted": {"permutation_seed"}, "patches": {"patch_size"}}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """One split: pixels or series, memory-mapped copy-on-write (torch takes them as they are); class numbers."""

    x_NTI: Pixels | Floats
    y_N: Labels


def dataset_recipe(config: DataConfig) -> Recipe:
    """Return what a dataset is made from; data of the user's own are read and digested."""
    spec = DATASETS[config.name]
    data: dict[str, Any] = {"name": config.name, "content": _content_digest(spec, config)}
    if config.name == "folder":
        from rnnpipe.data.folder import form_of

        data["image_size"] = list(form_of(config).image_size)
        data |= {"colour": config.colour} if config.colour == "rgb" else {}
    if config.columns is not None:
        data["columns"] = config.columns.model_dump(mode="json")
    if not spec.has_test_split:
        data |= config.model_dump(include={"test_fraction", "split_seed"})
    return Recipe(stage=DATASET_STAGE, inputs={"data": data, "code": _code_digest(), **code_of(spec)})


def build_dataset(
    config: DataConfig, downloads: Path, folder: Path, *, tell: Callable[[str], None] = logger.info
) -> dict[str, Any]:
    """Write train and test images and labels to `folder`, with samples and a profile, and return the facts.

    `downloads` keeps the files of downloaded datasets; `tell` hears how far it is where that takes long. DataError
    where the images can't be had or split.
    """
    from rnnpipe.data.pictures import save_samples

    spec = DATASETS[config.name]
    named = f"data.name {config.name}"
    raw: RawDataset | RawSeries = call_code(spec, named, spec, config, downloads)
    if isinstance(raw, RawSeries):
        return build_series(config, raw, folder)
    images_NHW, labels_N = raw.train_images_NHW, raw.train_labels_N
    if raw.test_images_NHW is None or raw.test_labels_N is None:
        splitter = Splitter(config.name, raw.classes, config.split_seed)
        train, test = splitter.hold_out(labels_N, config.test_fraction, "data.test_fraction")
        test_images_NHW, test_labels_N = images_NHW, labels_N
    else:
        test_images_NHW, test_labels_N = raw.test_images_NHW, raw.test_labels_N
        train, test = np.arange(len(labels_N)), np.arange(len(test_labels_N))
    (folder / LOG_FOLDER).mkdir(exist_ok=True)
    maker = f"{named}: {spec.whose}"
    parts = ((TRAIN_IMAGES_FILE, images_NHW, train), (TEST_IMAGES_FILE, test_images_NHW, test))
    mistakes = list[str]()
    for name, source, chosen in parts:
        if isinstance(source, np.ndarray):
            write_pixels(folder / name, source, chosen, item_shape=source.shape[1:], maker=maker)
            continue
        try:
            write_lazily(folder / name, source, chosen, tell, maker=maker)
        except UnusableImagesError as error:  # the other part's are to be told as well
            mistakes += error.mistakes
    if mistakes:
        raise UnusableImagesError(mistakes)
    write_array(folder / "train_labels.npy", labels_N[train])
    write_array(folder / "test_labels.npy", test_labels_N[test])
    stored_NHW, stored_y_N = _open(folder / TRAIN_IMAGES_FILE), labels_N[train]
    save_samples(folder / SAMPLES, stored_NHW, stored_y_N, raw.classes)
    write_json(folder / PROFILE, profile_of(stored_NHW, stored_y_N, raw.classes).model_dump(mode="json"))
    height, width, *channels = stored_NHW.shape[1:]
    return {
        "name": config.name, "classes": list(raw.classes), "image_size": [height, width],
        **({"channels": channels[0]} if channels else {}), "train": len(train), "test": len(test),
    }  # fmt: skip


def sequences_recipe(dataset: StageRef, data: DataConfig, sequence: SequenceConfig) -> Recipe:
    """Return what sequences are made from; of settings those that their transform reads, of a plug-in's all."""
    spec = SEQUENCES[sequence.name]
    fields = None if spec.origin else {"name", "scaling"} | TRANSFORM_FIELDS.get(sequence.name, set())
    inputs = {
        "dataset": dataset.digest,
        "data": data.model_dump(include={"validation_fraction", "split_seed", "limit"}),
        "sequence": sequence.model_dump(include=fields),
        "code": _code_digest(),
        **code_of(spec),
    }
    return Recipe(stage=SEQUENCES_STAGE, inputs=inputs)


def build_sequences(dataset: Entry, data: DataConfig, sequence: SequenceConfig, folder: Path) -> dict[str, Any]:
    """Write the train, validation and test sequences of a dataset to `folder` and return the facts.

    ConfigError where the transform doesn't fit the images, DataError where the images can't be split, or it
    returns another shape than it promises.
    """
    from rnnpipe.data.sequences import build_transform

    known = dataset.ref.facts
    classes = tuple(known["classes"])
    is_series, channels = "image_size" not in known, known.get("channels", 1)
    height, width = (known["steps"], len(known["features"])) if is_series else known["image_size"]
    transform = build_transform((height, width), sequence, channels)
    train_labels_N = _load_labels(dataset.path / "train_labels.npy")
    parts = _training_parts(train_labels_N, data, Splitter(known["name"], classes, data.split_seed))
    parts["test"] = np.arange(known["test"])
    for split, chosen in parts.items():
        source = "test" if split == "test" else "train"
        labels_N = _load_labels(dataset.path / f"{source}_labels.npy")
        if is_series:
            write_chosen(folder / f"{split}_x.npy", _open(dataset.path / series_file(source)), chosen)
        else:
            images_NHW = _open(dataset.path / f"{source}_images.npy")
            write_pixels(
                folder / f"{split}_x.npy", images_NHW, chosen, item_shape=(transform.steps, transform.features),
                transform=partial(_to_sequences, transform, images_NHW),
                maker=f"sequence.name {sequence.name}: {SEQUENCES[sequence.name].whose}",
            )  # fmt: skip
        write_array(folder / f"{split}_y.npy", labels_N[chosen])
    train_NTI = _open(folder / "train_x.npy")
    about = (
        {"series": series_facts(known, train_NTI), "mean": 0.0, "deviation": 1.0}
        if is_series
        else {"image_size": [height, width], **({"channels": channels} if channels > 1 else {})}
        | asdict(pixel_statistics(train_NTI))
    )
    return {
        "dataset": {"name": known["name"], "digest": dataset.ref.digest},
        "classes": list(classes), "sequence": sequence.model_dump(mode="json"),
        "steps": transform.steps, "features": transform.features,
        **{split: len(parts.get(split, ())) for split in ("train", "validation", "test")}, **about,
    }  # fmt: skip


def _to_sequences(transform: Any, images_NHW: Pixels, piece_NHW: Pixels) -> Pixels:
    import torch

    forget_pages(images_NHW)  # the piece is a copy
    sequences: Pixels = transform(torch.from_numpy(piece_NHW)).numpy()
    return sequences


def open_split(folder: Path, split: Literal["train", "validation", "test"]) -> Split | None:
    """Open a split of a sequences folder; None where it is empty (validation_fraction 0)."""
    path = folder / f"{split}_x.npy"
    if not path.exists():
        return None
    return Split(_open(path), _load_labels(folder / f"{split}_y.npy"))


def _open(path: Path) -> Any:
    """Return pixels, or series as float32."""
    return _checked(path, "c", "u1", "<f4")


def _load_labels(path: Path) -> Labels:
    labels: Labels = _checked(path, None, "i8")
    return labels


def _checked(path: Path, mode: Literal["c"] | None, *kinds: str) -> Any:
    """Return the array in a file, in mode "c" memory-mapped copy-on-write; DataError for another kind."""
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype not in map(np.dtype, kinds):
            raise ValueError(f"not an array of {' or '.join(str(np.dtype(kind)) for kind in kinds)}")
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
    if config.file is not None:
        return file_digest(config.file)
    files = {file.role: file.sha256 or file.archive_sha256 for file in spec.files}
    return digest_of({"files": files, "classes": spec.classes})


def _code_digest() -> str:
    return sha256_tree(Path(__file__).parent)
