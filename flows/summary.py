"""What a pipeline run ends with: leaderboard, verdict, version, failures, addresses."""

from pydantic import BaseModel, ConfigDict

from flows.judging import Judgement
from flows.session import Session
from flows.stages import Outcome, conditions_of
from rnnpipe.credentials import mask_credentials
from rnnpipe.evaluation.leaderboard import Leaderboard
from rnnpipe.evaluation.promotion import Verdict
from rnnpipe.reporting.facts import Failure


class RunSummary(BaseModel):
    """The outcome of a run, as the command line and the artifacts show it."""

    model_config = ConfigDict(frozen=True)

    run: str
    flow_run_id: str
    task: str
    leaderboard: Leaderboard
    failures: tuple[Failure, ...] = ()
    chosen_by: str = ""
    verdict: Verdict | None = None
    model_name: str = ""
    model_uri: str = ""
    champion: str = ""
    conditions: str = ""
    tracking_uri: str = ""
    experiment_id: str = ""
    tracking_problem: str = ""


def summarize(
    session: Session, outcome: Outcome, leaderboard: Leaderboard, judgement: Judgement | None
) -> RunSummary:
    """Gather what a run ends with."""
    config = outcome.config
    tracking = None if session.tracking_problem else session.tracking(config)
    return RunSummary(
        run=session.run,
        flow_run_id=session.flow_run_id,
        task=config.task,
        leaderboard=leaderboard,
        failures=outcome.failures,
        chosen_by=f"{judgement.candidate.row.name}, for the {judgement.candidate.chosen_by}" if judgement else "",
        verdict=judgement.verdict if judgement else None,
        model_name=config.model_name,
        model_uri=judgement.version.uri if judgement else "",
        champion=judgement.champion if judgement else "",
        conditions=conditions_of(outcome),
        tracking_uri=mask_credentials(tracking.uri) if tracking else "",
        experiment_id=tracking.experiment_id if tracking else "",
        tracking_problem=session.tracking_problem,
    )
