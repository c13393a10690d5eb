"""What Prefect's pages show of a run: the leaderboard as a table, the verdict, its page, links to MLflow."""

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.judging import Judgement
from flows.session import Session
from flows.stages import Outcome, conditions_of
from rnnpipe.credentials import without_credentials
from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.leaderboard import GROUPS, Leaderboard
from rnnpipe.reporting.facts import trained_of
from rnnpipe.reporting.run_page import REPORT_NAME
from rnnpipe.tracking.addresses import is_server
from rnnpipe.tracking.reports import page_path
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
    rows = [
        {"rank": rank, "group": leaderboard.group_of(row.label), **row.model_dump(mode="json")}
        for rank, row in enumerate(leaderboard.rows, start=1)
    ]
    about = f"Best test accuracy first; {GROUPS}. Measured on {conditions_of(outcome)}"
    create_table_artifact(key=f"leaderboard-{config.task}", table=rows, description=about)
    if len(config.seeds) > 1:
        means = [each.model_dump(mode="json") for each in leaderboard.variants]
        about = f"Mean test accuracy over the seeds, with its 95 % interval; {GROUPS}."
        create_table_artifact(key=f"variants-{config.task}", table=means, description=about)
    if not session.tracking_problem:
        tracking = session.tracking(config)
        link = comparison_url(mlflow_page(tracking.uri), tracking.experiment_id)
        create_link_artifact(key=f"mlflow-{config.task}", link=link, link_text="Compare the runs in MLflow")
    if judgement is not None:
        verdict, row = judgement.verdict, judgement.candidate.row
        text = f"# {verdict.decision}\n\n`{judgement.version.uri}` ({row.name}): {verdict.reason}.\n"
        text += f"\n{verdict.evidence}\n"
        create_markdown_artifact(key=f"verdict-{config.task}", markdown=text)
    create_markdown_artifact(
        key=f"report-{config.task}", markdown=_where_the_page_is(session, outcome, leaderboard)
    )


def _where_the_page_is(session: Session, outcome: Outcome, leaderboard: Leaderboard) -> str:
    """Return in Markdown where the run's page lies in MLflow, and how to have it as a file."""
    text = f"`rnnpipe report {outcome.run}` writes all of this run, with its figures, as one HTML file."
    if session.tracking_problem:
        return text
    best = trained_of(leaderboard.candidate().row, outcome.config, outcome.trained)
    try:
        tracking = session.tracking(outcome.config)
        path = page_path(tracking, best.training.key)
    except TrackingError:  # MLflow was there a moment ago; the file can be had all the same
        return text
    return f"[{REPORT_NAME}]({mlflow_page(tracking.uri)}/{path}) in MLflow. {text}" if path else text
