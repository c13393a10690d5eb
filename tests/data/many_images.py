"""A folder of so many PNG files becomes a dataset and sequences; prints the time of each step and the peak memory.

python tests/data/many_images.py IMAGES PROCESSES FOLDER [grey|rgb] [SIDE]
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from sklearn.datasets import load_digits

from rnnpipe.config.data import DataConfig
from rnnpipe.config.sections import SequenceConfig
from rnnpipe.data import decoders, folder, stages
from rnnpipe.store import Store


def write_folder(root: Path, count: int, side: int) -> None:
    """Write scikit-learn's digits, each another grey or colour, as PNG files in ten classes."""
    bunch = load_digits()
    for label in range(10):
        (root / str(label)).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        place = number % len(bunch.images)
        pixels = np.kron(bunch.images[place] * 15, np.ones((side // 8, side // 8)))
        tint = np.array([1, 0.5 + (number % 97) / 200, 0.5 + (number % 89) / 200])
        image = Image.fromarray((pixels[..., None] * tint).astype(np.uint8))
        image.save(root / str(bunch.target[place]) / f"{number:06}.png", compress_level=1)


def peak_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main(count: int, processes: int, work: Path, colour: str = "grey", side: int = 32) -> None:
    root = work / f"images-{count}-{side}"
    if not root.exists():
        write_folder(root, count, side)
    config = DataConfig(name="folder", folder=str(root), colour=colour, image_size=(side, side))
    most = [0.0]
    decode = decoders.Decoder.decode

    def watched(self: decoders.Decoder, paths: list[str]) -> decoders.Chunk:
        found = decode(self, paths)
        most[0] = max(most[0], psutil.Process(self._process.pid).memory_info().rss / 2**20)
        return found

    decoders.Decoder.decode = watched
    folder.cpu_cores = lambda: processes
    store, times, told = Store(work / f"store-{time.time_ns()}"), {}, []
    import torch  # noqa: F401 (so that the memory before is that of a process that has it)

    before = peak_mib()

    def timed(name: str, call: object) -> object:
        start = time.monotonic()
        answer = call()
        times[name] = round(time.monotonic() - start, 2)
        times[f"{name}: peak MiB"] = round(peak_mib())
        return answer

    recipe = timed("digest", lambda: stages.dataset_recipe(config))
    dataset = timed(
        "dataset",
        lambda: store.ensure(
            recipe, lambda target: stages.build_dataset(config, work, target, tell=told.append), "x"
        ),
    )
    sequence = SequenceConfig()
    recipe = stages.sequences_recipe(dataset.ref, config, sequence)
    timed(
        "sequences",
        lambda: store.ensure(
            recipe, lambda target: stages.build_sequences(dataset, config, sequence, target), "x"
        ),
    )
    print(
        json.dumps(
            {
                "images": count,
                "processes": processes,
                "side": side,
                "colour": colour,
                **times,
                "MiB before": round(before),
                "MiB of a decoder": round(most[0]),
                "told": told[-2:],
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:5], *map(int, sys.argv[5:6]))
