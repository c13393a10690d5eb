"""New images against those that the champion was trained on: what is reported, and what stops a retraining."""

from prefect.artifacts import create_markdown_artifact

from flows.session import Session
from rnnpipe.config import PipelineConfig
from rnnpipe.data.drift import DriftReport
from rnnpipe.data.profile import Profile, check_images
from rnnpipe.data.stages import PROFILE
from rnnpipe.errors import TrackingError
from rnnpipe.files import read_json
from rnnpipe.references import StageRef
from rnnpipe.tracking import registry
from rnnpipe.tracking.judged import fetch_profile


def check_drift(session: Session, config: PipelineConfig, dataset: StageRef) -> DriftReport | None:
    """Return how new images differ from the champion's, where that is known, and show it.

    DataError for images on which a training would be lost or couldn't be compared with the champion's.
    """
    profile = session.store.resolve(dataset).path / PROFILE
    if not profile.exists():
        session.progress.stage(
            "drift", f"not known: only images are compared, and {config.data.name} holds series"
        )
        return None
    new = Profile.model_validate(read_json(profile))
    champion, old = _champions_images(session, config)
    check_images(new, old, champion)
    if old is None:
        return None
    report = DriftReport.of(new, old, champion)
    session.progress.stage("drift", report.sentence)
    if session.in_prefect:
        create_markdown_artifact(key=f"drift-{config.task}", markdown=report.markdown())
    return report


def _champions_images(session: Session, config: PipelineConfig) -> tuple[str, Profile | None]:
    """Return the champion's name and the profile of its images; where that isn't known, it is told why."""
    try:
        tracking = session.tracking(config)
        champion = registry.champion(tracking, config.model_name)
        if champion is None:
            return "", None
        if profile := fetch_profile(tracking, champion):
            return champion.uri, profile
        problem = f"{champion.uri} carries no profile of its images"
    except TrackingError as error:
        problem = error.message
    session.progress.stage("drift", f"not known: {problem}")
    return "", None
