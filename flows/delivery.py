"""What MLflow is to be told, kept on the disk until it has been told: the spool.

An outcome lies there from the moment when everything is trained and measured until MLflow holds all of it, the
version and the verdict included. Telling MLflow twice changes nothing, so whoever comes next goes on.
"""

import logging
from pathlib import Path

from pydantic import ValidationError

from flows.judging import Judgement, judge_and_promote
from flows.overview import show_overview
from flows.reporting import keep, report
from flows.session import Session
from flows.spool import delivering, spool_folder, waiting
from flows.stages import Outcome, record_all
from rnnpipe.errors import RnnpipeError, TrackingError
from rnnpipe.files import digest_of, read_json, write_json
from rnnpipe.tracking.history import read_models
from rnnpipe.tracking.judged import keep_basis
from rnnpipe.tracking.trend import publish_trend

logger = logging.getLogger("rnnpipe.delivery")


def deliver(session: Session, outcome: Outcome) -> Judgement | None:
    """Make MLflow hold an outcome, after those that wait since earlier; return the judgement on its best model.

    Where MLflow can't be reached it stays in the spool, and `session.tracking_problem` says so.
    """
    path = spool_folder(session.workspace) / f"{_name(outcome)}.json"
    keep(session, outcome)
    with delivering(path):
        write_json(path, outcome.model_dump(mode="json"))
        try:
            session.tracking(outcome.config)
            deliver_waiting(session, waiting(session.workspace))
            return _deliver(session, outcome, path)
        except TrackingError as error:
            session.tracking_problem = str(error)
            return None


def deliver_waiting(session: Session, paths: list[Path]) -> int:
    """Make MLflow hold the outcomes in these files of the spool; return how many it does. The others stay."""
    delivered = 0
    for path in paths:
        try:
            _deliver(session, Outcome.model_validate(read_json(path)), path)
        except FileNotFoundError as error:  # another process was quicker, or the store was emptied
            if path.exists():
                logger.warning("%s can't be sent to MLflow any more: %s; remove it", path, error)
                continue
        except ValidationError:  # in words it would name each of a file's keys
            logger.warning("%s isn't sent to MLflow: not as this rnnpipe writes it", path)
            continue
        except (RnnpipeError, ValueError) as error:
            logger.warning("%s isn't sent to MLflow: %s", path, error)
            continue
        delivered += 1
    return delivered


def _deliver(session: Session, outcome: Outcome, path: Path) -> Judgement | None:
    session.progress.stage("MLflow", "gets the trainings, their figures and the best model")
    run_ids = record_all(session, outcome)
    _show_overview(session, outcome, run_ids)
    judgement = judge_and_promote(session, outcome, run_ids)
    if judgement is not None:
        keep_basis(
            session.tracking(outcome.config), judgement.version, outcome.basis,
            dataset_folder=session.store.resolve(outcome.dataset).path, drift=outcome.drift,
            is_new=judgement.verdict.champion_version != judgement.version.uri,
        )  # fmt: skip
        if judgement.verdict.champion_version != judgement.version.uri:
            _show_trend(session, outcome)
    report(session, outcome, judgement)
    path.unlink(missing_ok=True)
    return judgement


def _show_overview(session: Session, outcome: Outcome, run_ids: dict[str, str]) -> None:
    """Draw the run's models side by side; what can't be drawn is told, and stops no registration."""
    try:
        show_overview(session, outcome, run_ids)
    except TrackingError:
        raise
    except Exception as error:
        logger.warning("the models of this run aren't drawn side by side: %s: %s", type(error).__name__, error)


def _show_trend(session: Session, outcome: Outcome) -> None:
    """Bring the figure of the model's page in MLflow up to date; without it nothing is missing."""
    tracking = session.tracking(outcome.config)
    try:
        for model in read_models(tracking, outcome.config.model_name):
            publish_trend(tracking, session.workspace, model)
    except TrackingError as error:
        logger.warning("the trend of %s isn't drawn: %s", outcome.config.model_name, error.message)


def _name(outcome: Outcome) -> str:
    """Return the digest of what an outcome is of: a run that makes it again replaces it, whatever its times."""
    trainings = [each.training.key for each in outcome.trained]
    return digest_of({"config": outcome.config.as_json(), "trainings": trainings})
