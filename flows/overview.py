"""The figures of a whole run, for the page of its candidate in MLflow."""

from collections.abc import Mapping

from flows import tasks
from flows.session import Session
from flows.stages import Outcome, compare
from rnnpipe.tracking.reports import PIPELINE_RUN_TAG


def show_overview(session: Session, outcome: Outcome, run_ids: Mapping[str, str]) -> None:
    """Give the candidate's run in MLflow the figures with all models side by side, if there are several."""
    if len(outcome.trained) == 1:
        return
    trained = {(outcome.config.variants[each.variant].label, each.seed): each for each in outcome.trained}
    models, leaderboard = [], compare(session, outcome)
    for row in leaderboard.rows:
        its = trained[row.label, row.seed].model_dump(include={"training", "evaluation"})
        models.append({**its, "row": row.model_dump(mode="json")})
    chosen = leaderboard.candidate().row
    session.submit(
        tasks.show_overview, models=models, dataset=outcome.dataset.model_dump(), config=outcome.config,
        run=outcome.tags[PIPELINE_RUN_TAG], run_id=run_ids[trained[chosen.label, chosen.seed].label],
    ).result()  # fmt: skip
