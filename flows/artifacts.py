"""What Prefect's pages show of a run: the leaderboard as a table, the verdict, links to MLflow."""

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.judging import Judgement
from flows.session import Session
from flows.stages import Outcome, conditions_of
from rnnpipe.credentials import without_credentials
from rnnpipe.evaluation.leaderboard import Leaderboard
from rnnpipe.tracking.addresses import is_server
from rnnpipe.tracking.views import comparison_url

UI_ADDRESS = "http://127.0.0.1:5000"


def mlflow_page(tracking_uri: str) -> str:
    """Return the base address of the MLflow page: the server's own, else where `rnnpipe ui` opens it."""
    return without_credentials(tracking_uri) if is_server(tracking_uri) else UI_ADDRESS


def publish(session: Session, outcome: Outcome, leaderboard: Leaderboard, judgement: Judgement | None) -> None:
    """Attach leaderboard, link to MLflow's comparison, and verdict to the flow run, if there is one."""
    if not session.in_prefect:
        return
    config = outcome.config
    rows = [{"rank": rank, **row.model_dump(mode="json")} for rank, row in enumerate(leaderboard.rows, start=1)]
    about = f"Best test accuracy first; measured on {conditions_of(outcome)}"
    create_table_artifact(key=f"leaderboard-{config.task}", table=rows, description=about)
    if not session.tracking_problem:
        tracking = session.tracking(config)
        link = comparison_url(mlflow_page(tracking.uri), tracking.experiment_id)
        create_link_artifact(key=f"mlflow-{config.task}", link=link, link_text="Compare the runs in MLflow")
    if judgement is not None:
        verdict, row = judgement.verdict, judgement.candidate.row
        text = f"# {verdict.decision}\n\n`{judgement.version.uri}` ({row.name}): {verdict.reason}.\n"
        text += f"\n{verdict.evidence}\n"
        create_markdown_artifact(key=f"verdict-{config.task}", markdown=text)
