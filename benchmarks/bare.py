"""The bare training loop in a process of its own: `python -m benchmarks.bare SEQUENCES CONFIG RESULT`.

The same net, images, settings, order and validation as in the pipeline; no journal, no checkpoint, no test. RESULT
gets the seconds of the imports and those of the training.
"""

import sys
import time
from pathlib import Path

STARTED_S = time.perf_counter()

from rnnpipe.config import PipelineConfig  # noqa: E402
from rnnpipe.evaluation.deploy import build_network  # noqa: E402
from rnnpipe.evaluation.spec import ModelSpec  # noqa: E402
from rnnpipe.files import read_json, write_json  # noqa: E402
from rnnpipe.models.kernels.choice import use_kernels  # noqa: E402
from rnnpipe.processes.slots import cpu_cores  # noqa: E402
from rnnpipe.runtime import choose_precision, resolve_device, seed_everything, set_threads  # noqa: E402
from rnnpipe.training.data import open_training_data  # noqa: E402
from rnnpipe.training.loop import Fit  # noqa: E402
from rnnpipe.training.setting import NullRecorder, Setting  # noqa: E402


def train(sequences: Path, config: PipelineConfig) -> float:
    """Train a config's first variant with its first seed; return the seconds from its images to its weights."""
    started_s, variant, seed = time.perf_counter(), config.variants[0], config.seeds[0]
    set_threads(config.execution.threads_within(cpu_cores()))
    device = resolve_device(config.execution.device).torch
    seed_everything(seed)
    precision, _ = choose_precision(device, config.execution.precision)
    spec = ModelSpec.of(read_json(sequences / "manifest.json")["facts"], variant)
    setting = Setting(spec, config.training_of(variant), seed, device, precision)
    network = build_network(spec, seed).to(device)
    use_kernels(network, device, precision, config.execution.kernels)
    Fit(network, open_training_data(sequences, device), setting).run(NullRecorder())
    return time.perf_counter() - started_s


if __name__ == "__main__":
    imported_s = time.perf_counter() - STARTED_S
    trained_s = train(Path(sys.argv[1]), PipelineConfig(**read_json(Path(sys.argv[2]))))
    write_json(Path(sys.argv[3]), {"import_s": imported_s, "train_s": trained_s})
