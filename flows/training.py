"""From images to a verdict: what the pipeline and the retraining have in common."""

from prefect import State
from prefect.states import Failed

from flows.artifacts import publish
from flows.delivery import deliver
from flows.session import Session
from flows.stages import Outcome, compare, evaluate_all, sequences_of, train_all
from flows.summary import RunSummary, summarize
from rnnpipe.config import PipelineConfig
from rnnpipe.data.drift import DriftReport
from rnnpipe.references import StageRef
from rnnpipe.reporting.facts import Failure
from rnnpipe.tracking.judged import FAILED, Basis


def train_and_judge(
    session: Session, config: PipelineConfig, dataset: StageRef, *, basis: Basis, drift: DriftReport | None = None
) -> RunSummary | State[RunSummary]:
    """Train every variant on the images, compare them, register the best; promote it if it is better.

    `basis` and `drift` are kept with the verdict: see `Outcome`.
    """
    sequences = sequences_of(session, config, dataset)
    trained = evaluate_all(session, config, sequences, train_all(session, config, sequences))
    judged_on = dict(basis)
    if session.failures:  # the next retraining is to try again
        judged_on[FAILED] = sorted(label for label, _ in session.failures)
    outcome = Outcome(
        config=config, dataset=dataset, trained=trained, tags=session.tags(config), basis=judged_on,
        drift=drift, stages=tuple(session.stages),
        failures=tuple(Failure.of(label, error) for label, error in session.failures),
    )  # fmt: skip
    leaderboard = compare(session, outcome)
    judgement = deliver(session, outcome)
    publish(session, outcome, leaderboard, judgement)
    return _told(session, summarize(session, outcome, leaderboard, judgement))


def _told(session: Session, summary: RunSummary) -> RunSummary | State[RunSummary]:
    """Return a summary; where something is missing, in Prefect as a failed state, which alerts look at."""
    problems = [f"{failure.label}: {failure.message}" for failure in summary.failures]
    if summary.tracking_problem:
        problems.append(summary.tracking_problem)
    if not problems or not session.in_prefect:
        return summary
    return Failed(name="Incomplete", message="; ".join(problems), data=summary)
