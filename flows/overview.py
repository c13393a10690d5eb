"""The figures of a whole run, for the page of its candidate in MLflow."""

from collections.abc import Mapping

from flows import tasks
from flows.session import Session
from flows.stages import Outcome, compare
from rnnpipe.reporting.facts import trained_of


def show_overview(session: Session, outcome: Outcome, run_ids: Mapping[str, str]) -> None:
    """Give the candidate's run in MLflow the figures with all models side by side, if there are several."""
    if len(outcome.trained) == 1:
        return
    models, leaderboard = [], compare(session, outcome)
    for row in leaderboard.rows:
        its = trained_of(row, outcome.config, outcome.trained).model_dump(include={"training", "evaluation"})
        models.append({**its, "row": row.model_dump(mode="json")})
    chosen = trained_of(leaderboard.candidate().row, outcome.config, outcome.trained)
    session.submit(
        tasks.show_overview, models=models, dataset=outcome.dataset.model_dump(), config=outcome.config,
        run=outcome.run, run_id=run_ids[chosen.label],
    ).result()  # fmt: skip
