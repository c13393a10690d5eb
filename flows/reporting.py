"""The page of a run: its facts are kept in the workspace, and MLflow gets the page beside the best model."""

import logging

from flows.judging import Judgement
from flows.session import Session
from flows.stages import Outcome, compare, conditions_of
from rnnpipe.reporting.facts import RunFacts, keep_facts, now, read_facts
from rnnpipe.reporting.run_page import run_page
from rnnpipe.tracking.reports import log_page
from rnnpipe.training.environment import Environment

SHOWN = ("python", "platform", "torch", "numpy", "cpu_capability", "cores", "revision")  # of an environment

logger = logging.getLogger("rnnpipe.reporting")


def keep(session: Session, outcome: Outcome, judgement: Judgement | None = None, *, tracked: bool = False) -> None:
    """Keep what a run did, so that its page can be made at any time; what goes wrong is told, and stops no run."""
    try:
        keep_facts(session.workspace, _facts_of(session, outcome, judgement, tracked=tracked))
    except Exception as error:
        logger.warning("run %s has no page: %s: %s", outcome.run, type(error).__name__, error)


def report(session: Session, outcome: Outcome, judgement: Judgement | None) -> None:
    """Keep what a delivered run did, and give MLflow its page, as an artifact of the best model's run.

    A page that tells of a verdict isn't replaced by one of a run in which nothing has changed. What goes wrong is
    told, and stops no run.
    """
    try:
        facts = _facts_of(session, outcome, judgement, tracked=True)
        keep_facts(session.workspace, facts)
        log_page(
            session.tracking(outcome.config), facts.best.training.key,
            make=lambda: run_page(session.workspace, facts, session.store), replace=not facts.is_unchanged,
        )  # fmt: skip
    except Exception as error:
        logger.warning("MLflow has no page of run %s: %s: %s", outcome.run, type(error).__name__, error)


def _facts_of(session: Session, outcome: Outcome, judgement: Judgement | None, *, tracked: bool) -> RunFacts:
    leaderboard, before = compare(session, outcome), read_facts(session.workspace, outcome.run)
    facts = RunFacts(
        run=outcome.run,
        at=before.at if before else now(),  # delivered later, it is no later run
        config=outcome.config,
        dataset=outcome.dataset,
        trained=outcome.trained,
        leaderboard=leaderboard,
        chosen=leaderboard.candidate(),
        conditions=conditions_of(outcome),
        stages=outcome.stages,
        failures=outcome.failures,
        drift=outcome.drift.sentence if outcome.drift else "",
        tracked=tracked,
        verdict=judgement.verdict if judgement else None,
        model_uri=judgement.version.uri if judgement else "",
        champion=judgement.champion if judgement else "",
    )
    environment = Environment.of_training(session.store.resolve(facts.best.training).path)
    shown = {name.replace("_", " "): str(getattr(environment, name)) for name in SHOWN}
    return facts.model_copy(update={"environment": shown})
