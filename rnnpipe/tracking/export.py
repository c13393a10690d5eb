"""The model that is registered: one graph from raw images to probabilities, without pickle.

It is written as MLflow's `pt2` format with the model folder's files beside it, and read back in a clean
process (no rnnpipe, no pickle) before anything is registered.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rnnpipe.data.arrays import write_array
from rnnpipe.errors import RegistrationError
from rnnpipe.evaluation.deploy import Deploy, load_model
from rnnpipe.evaluation.spec import MODEL_FILES, ModelSpec
from rnnpipe.files import scratch_folder
from rnnpipe.models.layers import export_of_layers
from rnnpipe.runtime import one_thread
from rnnpipe.tracking.client import Tracking, mlflow, mlflow_errors
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG, RECORD_DIGEST_TAG, model_digest
from rnnpipe.tracking.stranger import FIX, Stranger, call_ahead, wait_until_ready

CHECKED_BATCHES = (1, 2, 999)
MAX_VALUES = 1 << 28  # of a batch: of large images and long series fewer are checked at once
TOLERANCE = 1e-5


# another version of torch may have it elsewhere, and imports it at the export
FOR_THE_EXPORT = ("torch.export.pt2_archive", "torch.export._trace", "sympy.tensor.tensor")


def prepare_export() -> None:
    """Do before an export what can be done before: seconds' worth of imports, here and of the stranger.

    And have MLflow list what is installed, if it still does so there: it looks at all files, once in a process.
    """
    call_ahead()
    for module in FOR_THE_EXPORT:
        with suppress(ImportError):
            import_module(module)
    with suppress(AttributeError):
        mlflow.utils.requirements_utils.warn_dependency_requirement_mismatches(_requirements())
    wait_until_ready()


def log_deployed_model(
    tracking: Tracking,
    run_id: str,
    model_folder: Path,
    *,
    step: int,
    tags: Mapping[str, str],
    carried: Sequence[Path] | None = None,
) -> str:
    """Store the model of a run in MLflow, named after its variant, and return its URI (models:/m-...).

    `step` is the step of the run that its weights are from, `carried` the files it carries: those of the model
    folder, if nothing else is said. The same model is stored once for a run, however often this is called.
    """
    spec, network = load_model(model_folder)
    deploy = Deploy(spec, network).eval()
    digest = model_digest(model_folder)
    with mlflow_errors("store the model"):
        model = _find_or_create(tracking, run_id, spec.variant.label, {**tags, MODEL_DIGEST_TAG: digest})
        if model.status != mlflow.entities.LoggedModelStatus.READY:
            with scratch_folder() as folder:
                target = folder / "model"
                _save(deploy, carried or [model_folder / name for name in MODEL_FILES], target, model)
                tracking.client.log_model_artifacts(model.model_id, str(target))
            _link_to_run(tracking, run_id, model.model_id, step)
            tracking.client.finalize_logged_model(model.model_id, mlflow.entities.LoggedModelStatus.READY)
    return str(model.model_uri)


def check_round_trip(stranger: Stranger, model: str, model_folder: Path) -> float:
    """Have a stranger load a stored model (URI or path), and compare what it predicts with the model folder.

    Returns the largest difference of any probability at batch 1, 2 and 999; RegistrationError if it is above 1e-5.
    """
    spec, network = load_model(model_folder)
    deploy = Deploy(spec, network).eval()
    generator = np.random.default_rng(0)
    difference = 0.0
    with scratch_folder() as folder:
        batches = tuple(min(batch, max(3, MAX_VALUES // math.prod(spec.shape))) for batch in CHECKED_BATCHES)
        images = {batch: _examples(spec, batch, generator) for batch in batches}
        for batch, images_NHW in images.items():
            write_array(folder / f"images-{batch}.npy", images_NHW)
        stranger.read_back(model, folder, batches)
        for batch, images_NHW in images.items():
            with torch.inference_mode(), one_thread():
                expected_NK = deploy(torch.from_numpy(images_NHW)).numpy()
            found_NK = np.load(folder / f"probabilities-{batch}.npy", allow_pickle=False)
            difference = max(difference, _difference(expected_NK, found_NK, batch))
    return difference


def _examples(spec: ModelSpec, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Return random images, or series that end anywhere, if they may."""
    if spec.series is None:
        return generator.integers(0, 256, (count, *spec.shape)).astype(np.float32)
    spread = np.array(spec.series.deviations) * generator.normal(size=(count, *spec.shape))
    x_NTI = (np.array(spec.series.means) + spread).astype(np.float32)
    if spec.has_lengths:
        x_NTI[np.arange(spec.steps) >= generator.integers(1, spec.steps + 1, count)[:, None]] = np.nan
    return x_NTI


def _find_or_create(
    tracking: Tracking, run_id: str, label: str, tags: Mapping[str, str]
) -> "mlflow.entities.LoggedModel":
    """Return the run's stored model with these digests (its own, its record's); READY, or to be filled (again)."""
    same = [f"tags.`{name}` = '{tags[name]}'" for name in (MODEL_DIGEST_TAG, RECORD_DIGEST_TAG) if name in tags]
    query = " AND ".join([f"source_run_id = '{run_id}'", *same])
    with tracking.lock():
        found = tracking.client.search_logged_models([tracking.experiment_id], query, max_results=1)
        if found:
            return found[0]
        return tracking.client.create_logged_model(
            tracking.experiment_id,
            name=label.replace(".", "_"),  # MLflow refuses dots
            source_run_id=run_id,
            tags=dict(tags),
            params=tracking.client.get_run(run_id).data.params,
            model_type="classifier",
        )


def _save(deploy: Deploy, carried: Sequence[Path], target: Path, model: "mlflow.entities.LoggedModel") -> None:
    """Write the model as MLflow's pt2 format. The batch of two keeps the batch size free."""
    spec = deploy.spec
    ramp_HW = np.linspace(0, 255, math.prod(spec.shape), dtype=np.float32).reshape(spec.shape)
    with _export_warnings_silenced():
        mlflow.pytorch.save_model(
            deploy,
            target,
            mlflow_model=mlflow.models.Model(
                artifact_path=model.artifact_location,
                run_id=model.source_run_id,
                model_uuid=model.model_id,
                model_id=model.model_id,
            ),
            serialization_format="pt2",
            signature=_signature(spec),
            input_example=np.stack([np.zeros_like(ramp_HW), ramp_HW]),
            pip_requirements=_requirements(),
            extra_files=[path.resolve().as_uri() for path in carried],
            metadata=spec.model_dump(mode="json"),
        )


def _signature(spec: ModelSpec) -> "mlflow.models.ModelSignature":
    schema, tensor, float32 = mlflow.types.Schema, mlflow.types.TensorSpec, np.dtype(np.float32)
    return mlflow.models.ModelSignature(
        inputs=schema([tensor(float32, (-1, *spec.shape))]),
        outputs=schema([tensor(float32, (-1, len(spec.classes)))]),
    )


def _requirements() -> list[str]:
    """Return the pinned packages the stored model needs; a build's local mark (+cpu) is in no index."""
    versions = {"mlflow": mlflow.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]


@contextmanager
def _export_warnings_silenced() -> Iterator[None]:
    with export_of_layers():
        # of a class of MLflow's own, while mlflow.pyfunc is imported
        warnings.filterwarnings("ignore", r".*Any type hint is inferred as AnyType", UserWarning)
        yield


def _link_to_run(tracking: Tracking, run_id: str, model_id: str, step: int) -> None:
    """Make the model an output of its run, and give it the run's latest test metrics."""
    client = tracking.client
    run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    if model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [mlflow.entities.LoggedModelOutput(model_id, step)])
    points = (client.get_metric_history(run_id, name)[-1] for name in run.data.metrics if name.startswith("test/"))
    client.log_batch(
        run_id,
        metrics=[
            mlflow.entities.Metric(p.key, p.value, p.timestamp, p.step, model_id=model_id, run_id=run_id)
            for p in points
        ],
    )


def _difference(expected_NK: NDArray[np.float32], found_NK: NDArray[np.float32], batch: int) -> float:
    if found_NK.shape != expected_NK.shape:
        raise RegistrationError(
            f"at batch {batch} the stored model returns the shape {found_NK.shape}, not {expected_NK.shape}", FIX
        )
    difference = float(np.abs(found_NK - expected_NK).max())
    if not difference <= TOLERANCE:
        raise RegistrationError(
            f"at batch {batch} the stored model's probabilities differ by {difference:.2g} from those of the"
            f" trained one (allowed: {TOLERANCE:g})",
            FIX,
        )
    return difference
