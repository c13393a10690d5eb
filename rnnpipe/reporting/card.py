"""The model card: what a registered model is, from what, how good, where its limits are, and how to use it.

Markdown for MLflow's pages. MLflow keeps at most 5,000 characters of a description on a database that counts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnpipe.catalogue import SEQUENCES, VARIANTS
from rnnpipe.config import VariantConfig
from rnnpipe.evaluation.leaderboard import Candidate
from rnnpipe.evaluation.report import ClassReport, EvaluationReport
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.reporting.page import percent

CARD_HEADING = "### Model card"
MAX_CHARACTERS = 3600  # the verdict comes after it
MAX_CLASSES = 12
MAX_NAME_CHARACTERS = 24


@dataclass(frozen=True)
class Model:
    """A trained and measured model: facts of its training, and of the dataset (with its SHA-256)."""

    spec: ModelSpec
    candidate: Candidate
    report: EvaluationReport
    training: Mapping[str, Any]
    dataset: Mapping[str, Any]
    dataset_digest: str


def version_card(uri: str, model: Model) -> str:
    """Return the card of a version, such as models:/mnist-rows/3."""
    parts = [
        CARD_HEADING,
        f"**What it is:** {_what(model)}",
        f"**Trained on:** {_trained_on(model)}",
        f"**Measured** on {model.report.total:,} test images:",
        _measured(model.report),
        f"**Limits:**\n\n{_limits(model)}",
        use_of(uri, model.spec),
    ]
    while len("\n\n".join(parts)) > MAX_CHARACTERS and len(parts) > 2:
        parts.pop(-2)  # how it is used stays
    return "\n\n".join(parts)


def use_of(uri: str, spec: ModelSpec | None = None) -> str:
    """Return how a model is loaded, asked, served and made again.

    MLflow's address isn't written down: the same server has others for other machines, and files move.
    """
    shape = f"(N, {', '.join(map(str, spec.shape))})" if spec else "(N, height, width)"
    given, values, file = ("images", "0 to 255", "IMAGE")
    if spec and spec.series is not None:
        given, values, file = "series", "NaN after a series' end" if spec.has_lengths else "finite", "FILE"
    return (
        "**Use:**\n\n```python\nimport mlflow\n\n"
        'mlflow.set_tracking_uri("sqlite:///.rnnpipe/mlflow.db")  # or the address of this page, up to its port\n'
        f'model = mlflow.pyfunc.load_model("{uri}", model_config={{"device": "cpu"}})\n'
        f"probabilities = model.predict({given})  # float32 {shape}, {values}\n```\n\n"
        f"```\nrnnpipe predict {uri} {file}\n"
        f"rnnpipe serve-model {uri}\n"
        f"rnnpipe reproduce {uri}\n```"
    )


def model_card(name: str, champion: Mapping[str, str] | None) -> str:
    """Return the card of a registered model: its champion, and how it is used.

    `champion` is what is said of the version that is champion, by name; None where none is.
    """
    if champion is None:
        return f"**Champion:** none yet. `rnnpipe champions {name}` lists the versions and their verdicts."
    lines = "\n".join(f"| {key} | {_plain(value)} |" for key, value in champion.items() if value)
    return (
        f"**Champion:**\n\n| | |\n|---|---|\n{lines}\n\nEach version has a model card of its own.\n\n"
        f"{use_of(f'models:/{name}@champion')}"
    )


def net_of(config: VariantConfig) -> str:
    """Return in words what net a variant's config makes; its summary names the tutorial's sizes."""
    kind = re.sub(r", (one|two) layers? of \d+$", "", VARIANTS[config.name].summary)
    layers = "one layer" if config.num_layers == 1 else f"{config.num_layers} layers"
    return f"{kind}, {layers} of {config.hidden_size}{', in both directions' if config.bidirectional else ''}"


def _what(model: Model) -> str:
    spec, row = model.spec, model.candidate.row
    if spec.series is not None:
        most = "up to " if spec.has_lengths else ""
        read = f"a series of {most}{spec.steps} steps of {spec.features} features ({_classes(spec.series.names)})"
    else:
        read = (
            f"an image of {spec.shape[0]} x {spec.shape[1]} pixels as {spec.steps} steps of {spec.features} values"
            f" ({SEQUENCES[spec.sequence.name].summary})"
        )
    return (
        f"`{row.label}`, {net_of(spec.variant)}; {row.parameters:,} weights. It reads {read} and gives the"
        f" probability of each of {len(spec.classes)} classes: {_classes(spec.classes)}."
    )


def _trained_on(model: Model) -> str:
    facts, training = model.dataset, model.training
    return (
        f"{facts['name']}, out of {facts['train']:,} images (SHA-256 `{model.dataset_digest}`); seed"
        f" {training['seed']}, epoch {training['best_epoch']} of {training['epochs']}; torch {training['torch']},"
        f" {training['device']}, {training['threads']} thread(s). Chosen for the {model.candidate.chosen_by}."
    )


def _measured(report: EvaluationReport) -> str:
    rows = {
        "accuracy": f"{percent(report.accuracy)} (95 % interval {percent(report.accuracy_low)} to"
        f" {percent(report.accuracy_high)}; {report.correct:,} correct)",
        "macro F1": f"{report.macro_f1:.4f}",
        "calibration error": percent(report.ece),
        "latency": f"{report.latency_ms_p50:.3g} ms an image (median of {report.latency_repeats},"
        f" {report.device})",
        "size": f"{report.weights_bytes:,} bytes of weights",
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _limits(model: Model) -> str:
    report, spec = model.report, model.spec
    kind, one = ("series", "series") if spec.series is not None else ("images", "image")
    channels = "one channel" if spec.channels == 1 else "red, green and blue"
    size = f": {spec.shape[0]} x {spec.shape[1]} pixels, {channels}, 0 to 255" if kind == "images" else ""
    worst = min((each for each in report.per_class if each.support), key=lambda each: each.recall)
    lines = [
        f"It knows {kind} like those of {model.dataset['name']}{size}. The interval holds for such {kind} only.",
        f"It gives one of its classes to every {one}, also to one that shows none of them.",
        f"It is weakest on {_worst(worst)}.",
    ]
    if model.candidate.row.validation_accuracy is None:
        lines.append("There were no validation images: what was chosen was chosen on the test images.")
    return "\n".join(f"- {line}" for line in lines)


def _worst(scores: ClassReport) -> str:
    return f"class {_code(scores.name)}: {percent(scores.recall)} of {scores.support:,} images are recognised"


def _classes(names: Sequence[str]) -> str:
    more = len(names) - MAX_CLASSES
    shown = ", ".join(_code(name) for name in names[:MAX_CLASSES])
    return f"{shown} and {more} more" if more > 0 else shown


def _code(name: str) -> str:
    """Return a class' name so that nothing in it counts as Markdown; folders name classes, and people folders."""
    short = name if len(name) <= MAX_NAME_CHARACTERS else f"{name[: MAX_NAME_CHARACTERS - 1]}…"
    return f"`{_plain(short).replace('`', chr(39))}`"


def _plain(text: str) -> str:
    """Return a text as one line that fits a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "/").strip()
