"""The page of a registered model in MLflow: the trend over its retrains as a figure, and the model card."""

from collections.abc import Sequence
from pathlib import Path

from rnnpipe.files import digest_of, scratch_folder
from rnnpipe.reporting.card import model_card
from rnnpipe.reporting.page import percent
from rnnpipe.tracking.client import Tracking, mlflow_errors, open_tracking, retried
from rnnpipe.tracking.history import RegisteredModel, VersionHistory, standings_of
from rnnpipe.tracking.runs import RunSpec, finish_run, log_artifact_files, start_run

EXPERIMENT = "champions"
FIGURE_FILE = "trend.png"
TREND_TAG = "rnnpipe.trend"  # on the registered model: the digest of what its figure shows
HEADING = "**Trend:**"


@retried
def publish_trend(tracking: Tracking, workspace: Path, model: RegisteredModel) -> None:
    """Let the page of a registered model show how good its versions are, and its champion; the same once only.

    It is kept by a run that the model has in the experiment `champions`, and replaced when something changes.
    """
    standings = [standing for standing in standings_of(model) if standing.accuracy is not None]
    card = _card(model, standings)
    drawn = [
        [each.version.number, each.aliases, each.correct, each.total, each.dataset_digest] for each in standings
    ]
    shown = digest_of([card, drawn])
    if not standings or model.tags.get(TREND_TAG) == shown:
        return
    run_id = _log_figure(open_tracking(tracking.uri, EXPERIMENT, workspace), model.name, standings)
    with mlflow_errors(f"show the trend of {model.name}"):
        tracking.client.update_registered_model(model.name, _description(model, run_id, card))
        tracking.client.set_registered_model_tag(model.name, TREND_TAG, shown)


def _log_figure(tracking: Tracking, model_name: str, standings: Sequence[VersionHistory]) -> str:
    """Store the figure in the model's run and return the run's id."""
    from rnnpipe.evaluation.figures.curves import TrendPoint, accuracy_trend  # brings matplotlib
    from rnnpipe.evaluation.figures.style import save_figure

    points = [
        TrendPoint(
            number=each.version.number,
            aliases=", ".join(each.aliases),
            accuracy=each.accuracy or 0.0,
            interval=(each.accuracy_low or 0.0, each.accuracy_high or 0.0),
            data=each.dataset_digest,
        )
        for each in standings
    ]
    first, last = standings[0].version, standings[-1].version
    key = digest_of({"trend": model_name})
    note = {"mlflow.note.content": f"How the versions of the registered model {model_name} do on test images."}
    run_id = start_run(tracking, RunSpec(key, model_name, {"model": model_name}, note, first.created_at_ms))
    with scratch_folder() as folder:
        save_figure(accuracy_trend(model_name, points), folder / FIGURE_FILE)
        log_artifact_files(tracking, run_id, [folder / FIGURE_FILE], "")
    finish_run(tracking, run_id, "FINISHED", last.created_at_ms)
    return run_id


def _description(model: RegisteredModel, run_id: str, card: str) -> str:
    """Return the model's description: what people have written there stays, figure and card stand at its end."""
    text = model.description.partition(HEADING)[0].rstrip()
    return f"{text}\n\n{HEADING}\n\n![trend](get-artifact?path={FIGURE_FILE}&run_uuid={run_id})\n\n{card}".strip()


def _card(model: RegisteredModel, standings: Sequence[VersionHistory]) -> str:
    champion = next((each for each in standings if "champion" in each.aliases), None)
    if champion is None:
        return model_card(model.name, None)
    tags, accuracy = champion.version.tags, ""
    if champion.accuracy is not None and champion.accuracy_low is not None and champion.accuracy_high is not None:
        low, high = percent(champion.accuracy_low), percent(champion.accuracy_high)
        accuracy = f"{percent(champion.accuracy)} (95 % interval {low} to {high}; {champion.total:,} test images)"
    said = {
        "version": str(champion.version.number),
        "net": f"{tags.get('rnnpipe.variant', '')}, seed {tags.get('rnnpipe.seed', '')}",
        "test accuracy": accuracy,
        "images": f"SHA-256 {champion.dataset_digest}",
        "verdict": f"{champion.verdict}: {champion.reason}",
        "decided": champion.decided,
    }
    return model_card(model.name, said)
