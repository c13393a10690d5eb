"""The figures of a page: those that lie in a folder, with captions, as part of the page itself."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# The order in which figures are shown; others come after them, by name.
CAPTIONS = {
    "belief": "What a net believes while it reads: its probabilities after each step",
    "leaderboard": "Test accuracy of all models, with 95 % intervals",
    "accuracy_while_reading": "Accuracy after so many steps: when the answers become right",
    "learning_curves": "Loss and accuracy by epoch",
    "accuracy_against_cost": "Accuracy against size and latency",
    "confusion_matrix": "Which classes are taken for which",
    "per_class": "How well each class is recognised, with 95 % intervals",
    "reliability": "Reliability: how often an answer is right that is given with this confidence",
    "mistakes": "The mistakes that the net was surest of",
    "robustness": "Accuracy on images that are shifted, turned, noisy or incomplete",
    "gradient_reach": "How far gradients reach back: how strongly each step's pixels move the loss at the end",
    "fixed": "Test images that this model gets right and the champion got wrong",
    "broken": "Test images that the champion got right and this model gets wrong",
    "samples": "Samples of the images",
    "trials": "The trials of a sweep in their order, and the best so far",
    "parallel_coordinates": "Each trial as a line through its values: where the dark ones meet is where to look",
    "importance": "How much of the accuracy's variance each field alone explains (fANOVA); what two fields do only"
    " together isn't told",
}
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A figure as a page shows it: what it is, its pixels (width, height), its content as a data: URI."""

    caption: str
    uri: str
    size: tuple[int, int]


class Budget:
    """How many bytes a page may still take; what doesn't fit is counted in `left_out`."""

    def __init__(self, size_bytes: int) -> None:
        self.left_bytes, self.left_out = size_bytes, 0

    def pictures(self, paths: Iterable[Path]) -> list[Picture]:
        """Return the PNG files among `paths` that still fit, in the order of CAPTIONS."""
        found = []
        for path in sorted(paths, key=_place):
            content = path.read_bytes()
            if not content.startswith(PNG):
                continue
            uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
            if len(uri) > self.left_bytes:
                self.left_out += 1
                continue
            self.left_bytes -= len(uri)
            size = (int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big"))
            found.append(Picture(caption_of(path), uri, size))
        return found


def caption_of(path: Path) -> str:
    """Return what a figure shows; of one that nobody has described, its file's name in words."""
    return CAPTIONS.get(path.stem) or path.stem.replace("_", " ").replace("-", " ").capitalize()


def _place(path: Path) -> tuple[int, str]:
    known = list(CAPTIONS)
    return (known.index(path.stem) if path.stem in CAPTIONS else len(known), path.name)
