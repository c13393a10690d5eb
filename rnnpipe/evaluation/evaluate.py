"""The evaluation stage: a trained net's predictions on one split, and everything measured on them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import open_split
from rnnpipe.errors import DataError
from rnnpipe.evaluation.belief import MAX_IMAGES, ReadImages, read_along
from rnnpipe.evaluation.deploy import Deploy, load_model
from rnnpipe.evaluation.drawing import Drawn, draw
from rnnpipe.evaluation.insight import gradient_norms, robustness
from rnnpipe.evaluation.job import threads_on
from rnnpipe.evaluation.metrics import Integers, SplitName, spread
from rnnpipe.evaluation.predict import Predictions, measure_latency, predict, time_calls
from rnnpipe.evaluation.report import PREDICTIONS_FILE, REPORT_FILE, Conditions, EvaluationReport, Scores, Speed
from rnnpipe.evaluation.spec import WEIGHTS_FILE, ModelSpec
from rnnpipe.files import write_bytes, write_json
from rnnpipe.models.classifier import count_parameters
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.runtime import (
    autocast,
    choose_precision,
    describe_device,
    peak_memory_mib,
    resolve_device,
    set_threads,
)

FIGURES_FOLDER = "figures"
THROUGHPUT_REPEATS = 5
LONG_FIELDS = ("per_class", "confusion", "reading", "robustness", "gradient_norms")  # in the report alone


def build_evaluation(
    model_folder: Path, sequences_folder: Path, config: PipelineConfig, folder: Path, *, split: SplitName = "test"
) -> dict[str, Any]:
    """Evaluate a model folder on a split, write report, predictions and figures, and return the facts.

    Only the config's sections `evaluation` and `execution` matter. The facts are the report's single figures.
    Raises DataError where model and sequences don't belong together or the net's outputs aren't numbers,
    DeviceError where the device isn't there or its memory doesn't hold a single image.
    """
    device = resolve_device(config.execution.device)
    threads, latency_threads = threads_on(device.name, config.execution), config.execution.threads_within(1)
    precision, precision_reason = choose_precision(device.torch, config.execution.precision)
    spec, network = load_model(model_folder)
    x_NTI, labels_N = _open_matching(sequences_folder, split, spec)
    with autocast(device.torch, precision):
        set_threads(latency_threads)  # latency first, as the registered graph will be served: by torch
        latency = _latency(Deploy(spec, network).to(device.torch), config.evaluation.latency_repeats)
        set_threads(threads)
        kernels, kernels_reason = use_kernels(network, device.torch, precision, config.execution.kernels)
        predictions = predict(network, x_NTI, spec, device.torch, config.evaluation.batch_size)
        places_N = spread(len(labels_N), MAX_IMAGES)
        beliefs = read_along(network, x_NTI[places_N], spec, device.torch, config.evaluation.batch_size)
        bearing = robustness(network, x_NTI, labels_N, spec, device.torch)
        speed = Speed(**latency, latency_threads=latency_threads, **_throughput(network, x_NTI, spec, predictions))
    probabilities_NK = predictions.probabilities_NK.numpy()
    if not np.isfinite(probabilities_NK).all():
        raise DataError(f"{model_folder}: the net's outputs are not finite", "train the model again")
    conditions = Conditions(
        device=describe_device(device.torch),
        device_reason=device.reason,
        threads=threads,
        precision=precision,
        precision_reason=precision_reason,
        kernels=kernels,
        kernels_reason=kernels_reason,
        torch_version=torch.__version__,
    )
    report = EvaluationReport(
        **dict(Scores.of(split, probabilities_NK, labels_N, spec.classes)),
        **dict(speed),
        **dict(conditions),
        parameters=count_parameters(network),
        weights_bytes=(model_folder / WEIGHTS_FILE).stat().st_size,
        reading=beliefs.reading(labels_N[places_N]),
        robustness=bearing,
        gradient_norms=gradient_norms(network, x_NTI, labels_N, spec),
    )
    write_evaluation(folder, report, probabilities_NK, labels_N)
    read = ReadImages(places_N, labels_N[places_N], beliefs)
    read.write(folder)
    draw(folder / FIGURES_FOLDER, report, Drawn(probabilities_NK, labels_N, x_NTI, read, spec))
    return report.model_dump(mode="json", exclude={*LONG_FIELDS})


def write_evaluation(
    folder: Path, report: EvaluationReport, probabilities_NK: NDArray[np.float32], labels_N: Integers
) -> None:
    """Write report.json and predictions.safetensors (probabilities, labels)."""
    write_json(folder / REPORT_FILE, report.model_dump(mode="json"))
    predictions: dict[str, NDArray[Any]] = {"probabilities": probabilities_NK, "labels": labels_N}
    write_bytes(folder / PREDICTIONS_FILE, safetensors.numpy.save(predictions))


def _open_matching(folder: Path, split: SplitName, spec: ModelSpec) -> tuple[Tensor, Integers]:
    """Return x_NTI and labels_N of a split, once they are known to fit the model."""
    opened = open_split(folder, split)
    if opened is None:
        raise DataError(f"there are no {split} images", "set data.validation_fraction above 0")
    found = (*opened.x_NTI.shape[1:], int(opened.y_N.max()) + 1)
    fits = found[1] == spec.features and (
        found[0] == spec.steps or spec.has_lengths
    )  # then a net reads any number
    if not fits or found[2] > len(spec.classes):
        raise DataError(
            f"the {split} sequences have {found[0]} steps, {found[1]} features and {found[2]} classes, the model"
            f" was trained on {spec.steps}, {spec.features} and {len(spec.classes)}",
            "evaluate it on the dataset and the sequence transform that it was trained with",
        )
    return torch.from_numpy(opened.x_NTI), opened.y_N


def _latency(deploy: Deploy, repeats: int) -> dict[str, Any]:
    """Time single raw images through the whole graph."""
    shape, device = deploy.spec.shape, next(deploy.network.parameters()).device
    image_1HW = (torch.arange(math.prod(shape)) % 256).float().view(1, *shape).to(device)
    p50_ms, p95_ms = measure_latency(deploy, image_1HW, device, repeats)
    return {"latency_ms_p50": p50_ms, "latency_ms_p95": p95_ms, "latency_repeats": repeats}


def _throughput(network: nn.Module, x_NTI: Tensor, spec: ModelSpec, predictions: Predictions) -> dict[str, Any]:
    """Time full batches of sequences through the net, and say what memory they took."""
    device, batch_NTI = next(network.parameters()).device, x_NTI[: predictions.batch_size]
    durations_s = time_calls(
        lambda: predict(network, batch_NTI, spec, device, predictions.batch_size),
        device,
        THROUGHPUT_REPEATS,
        warm_up=1,
    )
    return {
        "samples_per_s": len(batch_NTI) / float(np.median(durations_s)),
        "throughput_repeats": THROUGHPUT_REPEATS,
        "batch_size": len(batch_NTI),
        "halvings": predictions.halvings,
        "peak_memory_mib": peak_memory_mib(device),
    }
