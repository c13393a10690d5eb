"""Fixed, seeded splits in which every class keeps its share."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnpipe.data.raw import Labels
from rnnpipe.errors import DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Splitter:
    """Splits images by their labels; the same seed gives the same images. `origin` names the dataset."""

    origin: str
    classes: tuple[str, ...]
    seed: int

    def hold_out(self, labels_N: Labels, fraction: float, setting: str) -> tuple[Indices, Indices]:
        """Return sorted indices (kept, held out); every class is in both.

        DataError where a class has too few images for that; it names `setting`, the fraction's config field.
        """
        held_count = math.ceil(fraction * len(labels_N))
        kept, held = self._draw(labels_N, held_count)
        if self._has_all_classes(labels_N[kept]) and self._has_all_classes(labels_N[held]):
            return kept, held
        raise self._too_few(labels_N, held_count, f"{setting} {fraction:g}")

    def limit(self, labels_N: Labels, count: int) -> Indices:
        """Return the sorted indices of at most `count` images; every class is among them."""
        if count >= len(labels_N):
            return np.arange(len(labels_N))
        # The draw needs room for every class on the side that is left out too.
        chosen = self._draw(labels_N, min(count, len(labels_N) - len(self.classes)))[1]
        if self._has_all_classes(labels_N[chosen]):
            return chosen
        raise self._too_few(labels_N, count, f"data.limit {count}")

    def _draw(self, labels_N: Labels, held_count: int) -> tuple[Indices, Indices]:
        """Return (kept, held), both empty where a stratified draw isn't possible."""
        from sklearn.model_selection import train_test_split

        num_classes = len(self.classes)
        possible = num_classes <= held_count <= len(labels_N) - num_classes
        if not possible or self._counts(labels_N).min() < 2:
            return np.arange(0), np.arange(0)
        kept, held = train_test_split(
            np.arange(len(labels_N)), test_size=held_count, random_state=self.seed, stratify=labels_N
        )
        return np.sort(kept), np.sort(held)

    def _counts(self, labels_N: Labels) -> NDArray[np.int64]:
        return np.bincount(labels_N, minlength=len(self.classes))

    def _has_all_classes(self, labels_N: Labels) -> bool:
        return bool(self._counts(labels_N).min() > 0)

    def _too_few(self, labels_N: Labels, held_count: int, setting: str) -> DataError:
        counts_K = self._counts(labels_N)
        needed = max(2, math.ceil(len(labels_N) / held_count))
        return DataError(
            f"{self.origin}: {counts_K.min()} of {len(labels_N)} images are of the class"
            f" {self.classes[counts_K.argmin()]}, too few for {setting} to leave some of each class on both"
            f" sides; {needed} are needed",
            f"add images of this class, or raise {setting.partition(' ')[0]} (or data.limit, where it is set)",
        )
