"""The nets that read a drawing side by side: a registered version, and the best stored of each other variant."""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rnnpipe.data.raw import Pixels
from rnnpipe.errors import DataError
from rnnpipe.evaluation.belief import read_along
from rnnpipe.evaluation.deploy import load_model
from rnnpipe.evaluation.order import transform_of
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.models.classifier import SequenceClassifier
from rnnpipe.references import StageRef
from rnnpipe.runtime import one_thread
from rnnpipe.store import Entry, Store
from rnnpipe.tracking.registry import Version

MAX_OTHERS = 7
DECIMALS = 4  # of a probability that is shown as a bar
CPU = torch.device("cpu")
TRAININGS = "trainings"

logger = logging.getLogger(__name__)
_torch_is_busy = threading.Lock()  # one image at a time: more would only share the cores


@dataclass(frozen=True)
class Reader:
    """A net that reads, and in words which one it is."""

    title: str
    what: str
    spec: ModelSpec
    network: SequenceClassifier

    def read(self, image_HW: Pixels) -> dict[str, Any]:
        """Return what it believes of an image of the spec's size after each reading.

        `steps` (R), `probabilities` (R, K), and `decided_at`: the step from which on the answer stays.
        """
        transform = transform_of(self.spec)
        with _torch_is_busy, one_thread():
            x_NTI = transform(torch.from_numpy(image_HW)[None])
            beliefs = read_along(self.network, x_NTI, self.spec, CPU, batch_size=1)
        return {
            "title": self.title,
            "steps": beliefs.steps_R.tolist(),
            "probabilities": beliefs.probabilities_NRK[0].round(DECIMALS).astype(float).tolist(),
            "decided_at": int(beliefs.decided_at()[0]),
        }


def readers_of(version: Version, model_folder: Path, store: Store) -> list[Reader]:
    """Return a version's net, whose files are in `model_folder`, and those that the store holds beside it.

    These are trained on the same sequences; of each variant the one with the best validation accuracy.
    """
    spec, network = load_model(model_folder)
    title = version.tags.get("rnnpipe.variant") or spec.variant.label
    champion = Reader(title, f"registered as {version.uri}", spec, network)
    return [champion, *_others(store, version.tags.get("rnnpipe.training_key", ""), title)][: 1 + MAX_OTHERS]


def steps_by_pixel(spec: ModelSpec) -> list[int]:
    """Return for each pixel of an image, in reading order, the step (from 1) in which the nets read it."""
    height, width = spec.shape
    numbers_1HW = torch.arange(height * width).view(1, height, width)
    order_TI = transform_of(spec)(numbers_1HW)[0]
    steps_P = torch.empty(height * width, dtype=torch.int64)
    steps_P[order_TI.flatten()] = torch.arange(spec.steps).repeat_interleave(spec.features) + 1
    return [int(step) for step in steps_P.tolist()]


def _others(store: Store, training_key: str, title: str) -> Iterator[Reader]:
    """Yield the best net of each other variant, the most accurate first."""
    found = [manifest for folder, manifest in store.outputs() if folder.parent.name == TRAININGS and manifest]
    sequences = [each["inputs"]["sequences"] for each in found if each["key"] == training_key]
    beside = [each for each in found if each["inputs"]["sequences"] in sequences]
    seen = {title}
    for manifest in sorted(beside, key=_rank):
        if manifest["facts"]["variant"] in seen:
            continue
        if reader := _reader_of(store, manifest):
            seen.add(reader.title)
            yield reader


def _rank(manifest: dict[str, Any]) -> tuple[float, int]:
    """Return what sorts the most accurate first, then the newest."""
    return -(manifest["facts"].get("validation_accuracy") or 0.0), -int(manifest["made_at_ns"])


def _reader_of(store: Store, manifest: dict[str, Any]) -> Reader | None:
    """Return the net of a training, or None, said aloud, where its files aren't whole."""
    ref = StageRef(**{name: manifest[name] for name in ("stage", "key", "digest", "facts")})
    try:
        entry = store.resolve(ref)
        spec, network = load_model(entry.path)
    except (FileNotFoundError, DataError) as error:
        logger.warning("%s isn't shown: %s", ref.facts["variant"], error)
        return None
    return Reader(ref.facts["variant"], _described(entry), spec, network)


def _described(entry: Entry) -> str:
    accuracy = entry.ref.facts.get("validation_accuracy")
    measured = f", {100 * accuracy:.2f} % of the validation images right" if accuracy is not None else ""
    return f"stored training: seed {entry.ref.facts['seed']}{measured}"


def same_images(readers: Sequence[Reader]) -> bool:
    """Say whether all read images of one size into the same classes, step by step alike."""
    seen = {(each.spec.shape, each.spec.classes, each.spec.steps) for each in readers}
    return len(seen) == 1
