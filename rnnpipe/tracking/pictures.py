"""Pictures of a run: those that MLflow's page steps through, epoch by epoch, and those of a whole pipeline run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from rnnpipe.evaluation.metrics import spread
from rnnpipe.evaluation.spec import SPEC_FILE
from rnnpipe.files import digest_of, read_json, scratch_folder
from rnnpipe.tracking.client import Tracking, mlflow_errors, retried
from rnnpipe.tracking.runs import log_artifact_files, set_tags
from rnnpipe.training.journal import Event, epochs_of

if TYPE_CHECKING:
    from PIL import Image

KEY = "belief"
IMAGES_FOLDER = "images"
LOGGED_IMAGES_TAG = "mlflow.loggedImages"  # by it the page knows that there are some
MAX_PICTURES = 30
OVERVIEW_FOLDER, OVERVIEW_TAG = "overview", "rnnpipe.overview"
PREVIEW, SHOWN = 1200, 900  # pixels


def log_beliefs(tracking: Tracking, run_id: str, training: Path, events: Sequence[Event]) -> None:
    """Log what a net believed of the watched images before its training (step 0) and after each epoch.

    At most 30 pictures, as images with steps.

    The files have the names that MLflow's log_image gives them, but for each epoch always the same: again, it
    changes nothing.
    """
    from rnnpipe.training.watching import beliefs_of, read_watched  # brings torch

    watched, steps = read_watched(training), int(read_json(training / SPEC_FILE)["steps"])
    starts = [{**event, "epoch": 0} for event in events if event["event"] == "start"]
    told = [event for event in [*starts, *epochs_of(list(events))] if event.get("belief")]
    if watched is None or not told:
        return
    from PIL import Image

    from rnnpipe.evaluation.figures.strip import belief_strip  # brings matplotlib

    with scratch_folder() as folder:
        for place in spread(len(told), MAX_PICTURES):
            event = told[place]
            beliefs = beliefs_of(event, steps)
            assert beliefs is not None, "such are left out"
            picture = Image.fromarray(belief_strip(*watched, beliefs))
            number = uuid5(NAMESPACE_URL, f"{run_id}/{KEY}/{event['epoch']}")
            stem = f"{KEY}+step+{event['epoch']}+timestamp+{event['time_ms']}+{number}"
            picture.save(folder / f"{stem}.png")
            _preview(picture).save(folder / f"{stem}+compressed.webp")
        log_artifact_files(tracking, run_id, sorted(folder.iterdir()), IMAGES_FOLDER)
    set_tags(tracking, run_id, {LOGGED_IMAGES_TAG: True})


def _preview(picture: "Image.Image") -> "Image.Image":
    """Return what MLflow's page shows of a picture, at the top of a square.

    The page lays it into the middle of a square as wide as the window: else it would begin below what is in view.
    """
    from PIL import Image

    scale = SHOWN / max(picture.size)
    enlarged = picture.resize(
        (round(scale * picture.width), round(scale * picture.height)), Image.Resampling.NEAREST
    )
    preview = Image.new("RGB", (PREVIEW, PREVIEW), "white")
    preview.paste(enlarged, ((PREVIEW - enlarged.width) // 2, 0))
    return preview


@retried
def log_overview(tracking: Tracking, run_id: str, digests: Sequence[str], draw: Callable[[], list[Path]]) -> None:
    """Log the figures that `draw` makes, unless the run has those of the same evaluations already."""
    drawn_of = digest_of(list(digests))
    with mlflow_errors("read the tags of a run"):
        if tracking.client.get_run(run_id).data.tags.get(OVERVIEW_TAG) == drawn_of:
            return
    log_artifact_files(tracking, run_id, draw(), OVERVIEW_FOLDER)
    set_tags(tracking, run_id, {OVERVIEW_TAG: drawn_of})
