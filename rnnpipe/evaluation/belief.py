"""What a net believes while it reads: its class probabilities after each step, as if the sequence ended there.

A recurrent net has an answer at any time, but only the last one is asked for. Asking for the others needs nothing
of a variant: the net reads the first steps and nothing more.
Shapes: N sequences, T steps, I features, R readings (after so many steps each), K classes.
"""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnpipe.evaluation.metrics import Integers
from rnnpipe.evaluation.predict import Network, predict
from rnnpipe.evaluation.report import Reading
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.files import write_bytes

MAX_READINGS = 28  # of long sequences, evenly spread
MAX_IMAGES = 1000
BELIEF_FILE = "belief.safetensors"


class Beliefs(NamedTuple):
    """The steps after which a net was asked, and what it said: probabilities (N, R, K), float32."""

    steps_R: NDArray[np.int64]
    probabilities_NRK: NDArray[np.float32]

    def of(self, place: int) -> "Beliefs":
        """Return what was believed of one image."""
        return Beliefs(self.steps_R, self.probabilities_NRK[place : place + 1])

    @property
    def predicted(self) -> Integers:
        """The most probable class of each image after each reading, (N, R)."""
        found: Integers = self.probabilities_NRK.argmax(axis=2)
        return found

    def decided_at(self) -> Integers:
        """Return for each image the step from which on the answer stays what it is at the end, (N,)."""
        other_NR = self.predicted != self.predicted[:, -1:]
        # the reading after the last one with another answer; the first where there is none
        last_other_N = other_NR.shape[1] - 1 - np.argmax(other_NR[:, ::-1], axis=1)
        found: Integers = self.steps_R[np.where(other_NR.any(axis=1), last_other_N + 1, 0)]
        return found

    def reading(self, labels_N: Integers) -> Reading:
        """Return how many answers are right after each reading, and when the answers fell."""
        correct_R = (self.predicted == labels_N[:, None]).sum(axis=0)
        return Reading(
            images=len(labels_N),
            steps=tuple(self.steps_R.tolist()),
            correct=tuple(correct_R.tolist()),
            median_decision_step=float(np.median(self.decided_at())),
        )


class ReadImages(NamedTuple):
    """Test images that a net was watched reading: their places in the split, labels, and beliefs."""

    places_N: NDArray[np.int64]
    labels_N: Integers
    beliefs: Beliefs

    def write(self, folder: Path) -> None:
        """Write belief.safetensors; equal beliefs give equal bytes."""
        tensors = {
            "places": self.places_N,
            "labels": self.labels_N,
            "steps": self.beliefs.steps_R,
            "probabilities": self.beliefs.probabilities_NRK,
        }
        content = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        write_bytes(folder / BELIEF_FILE, safetensors.numpy.save(content))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return what `write` wrote."""
        found = safetensors.numpy.load_file(folder / BELIEF_FILE)
        return cls(found["places"], found["labels"], Beliefs(found["steps"], found["probabilities"]))


def reading_steps(steps: int, most: int = MAX_READINGS) -> tuple[int, ...]:
    """Return after which steps a net is asked: each, or `most` that are evenly spread; the last is `steps`."""
    return tuple(dict.fromkeys(-(-steps * number // most) for number in range(1, most + 1)))


def read_along(network: Network, x_NTI: Tensor, spec: ModelSpec, device: torch.device, batch_size: int) -> Beliefs:
    """Return what a net believes of sequences of pixel values 0..255 after each reading; see `predict`."""
    steps_R = reading_steps(x_NTI.shape[1])
    found = [predict(network, x_NTI[:, :steps], spec, device, batch_size) for steps in steps_R]
    probabilities_NRK = torch.stack([each.probabilities_NK for each in found], dim=1).numpy()
    return Beliefs(np.array(steps_R), probabilities_NRK)


def telling_places(beliefs: Beliefs, labels_N: Integers, count: int = 6) -> list[int]:
    """Return which images tell most of how a net reads, at most `count`.

    Half of them mistakes, the surest first; the others right answers of different classes, the latest first.
    """
    confidence_N = beliefs.probabilities_NRK[:, -1].max(axis=1)
    is_right_N = beliefs.predicted[:, -1] == labels_N
    wrong = np.flatnonzero(~is_right_N)
    chosen = [int(place) for place in wrong[np.argsort(-confidence_N[wrong], kind="stable")][: count // 2]]
    right, seen = np.flatnonzero(is_right_N), set[int]()
    for place in right[np.argsort(-beliefs.decided_at()[right], kind="stable")]:
        if len(chosen) == count:
            break
        if int(labels_N[place]) not in seen:
            seen.add(int(labels_N[place]))
            chosen.append(int(place))
    return chosen
