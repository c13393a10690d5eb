"""Images to try a net on: the first test image of each class, where the dataset is in the workspace's store."""

from typing import NamedTuple

import numpy as np

from rnnpipe.data.raw import Pixels
from rnnpipe.data.stages import DATASET_STAGE, TEST_IMAGES_FILE
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.references import StageRef
from rnnpipe.store import Entry, Store

MAX_SAMPLES = 20


class Sample(NamedTuple):
    """A test image, the name of its class, and its place among the test images."""

    label: str
    place: int
    image_HW: Pixels


def samples_of(spec: ModelSpec, store: Store) -> list[Sample]:
    """Return test images of the dataset that a net was trained on; none where the store doesn't hold it whole."""
    dataset = _dataset_of(spec, store)
    if dataset is None:
        return []
    images_NHW = np.load(dataset.path / TEST_IMAGES_FILE, mmap_mode="r", allow_pickle=False)
    labels_N = np.load(dataset.path / "test_labels.npy", allow_pickle=False)
    if images_NHW.shape[1:] != spec.shape:
        return []
    found, places = np.unique(labels_N, return_index=True)
    return [
        Sample(spec.classes[label], int(place), np.array(images_NHW[place]))
        for label, place in zip(found, places, strict=True)
    ][:MAX_SAMPLES]


def _dataset_of(spec: ModelSpec, store: Store) -> Entry | None:
    for folder, manifest in store.outputs():
        if folder.parent.name == DATASET_STAGE and manifest.get("digest") == spec.dataset.get("digest"):
            try:
                return store.resolve(StageRef(**{name: manifest[name] for name in StageRef.model_fields}))
            except FileNotFoundError:  # damaged; the store has said so
                continue
    return None
