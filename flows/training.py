"""From images to a verdict: what the pipeline and the retraining have in common."""

from flows.artifacts import publish
from flows.delivery import deliver
from flows.session import Session
from flows.stages import Outcome, compare, evaluate_all, sequences_of, train_all
from flows.summary import RunSummary, summarize
from rnnpipe.config import PipelineConfig
from rnnpipe.data.drift import DriftReport
from rnnpipe.references import StageRef
from rnnpipe.tracking.judged import Basis


def train_and_judge(
    session: Session, config: PipelineConfig, dataset: StageRef, *, basis: Basis, drift: DriftReport | None = None
) -> RunSummary:
    """Train every variant on the images, compare them, register the best; promote it if it is better.

    `basis` and `drift` are kept with the verdict: see `Outcome`.
    """
    sequences = sequences_of(session, config, dataset)
    trained = evaluate_all(session, config, sequences, train_all(session, config, sequences))
    outcome = Outcome(
        config=config, dataset=dataset, trained=trained, tags=session.tags(), basis=dict(basis), drift=drift
    )
    leaderboard = compare(session, outcome)
    judgement = deliver(session, outcome)
    publish(session, outcome, leaderboard, judgement)
    return summarize(session, outcome, leaderboard, judgement)
