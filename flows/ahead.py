"""What a run needs besides Prefect, started before Prefect is imported and while its server starts."""

from importlib import import_module

from flows.why import forecast
from rnnpipe.catalogue import DATASETS, SEQUENCES
from rnnpipe.config import PipelineConfig
from rnnpipe.errors import RnnpipeError
from rnnpipe.plugins import load_code
from rnnpipe.processes.launcher import Launcher
from rnnpipe.store import Store
from rnnpipe.training.supervise import PRELOADED

_launchers: list[Launcher] = []  # started for the next session


def take_launcher() -> Launcher:
    """Return a launcher, the one that was started ahead if there is one."""
    return _launchers.pop() if _launchers else Launcher(PRELOADED)


def start_ahead(config: PipelineConfig) -> list[str]:
    """Let the fork server import what a run needs; return "images" and "sequences" where they are to be made.

    Nothing is started where the run has no use for it.
    """
    try:
        images, sequences, *others = [stage.output for stage in forecast(config, Store.of_workspace())]
    except RnnpipeError:  # of a folder that can't be read, the run tells
        return []
    if None not in (images, sequences, *others):
        return []
    if not _launchers:
        _launchers.append(Launcher(PRELOADED))
        _launchers[0].warm_up()
    return [name for name, output in (("images", images), ("sequences", sequences)) if output is None]


def import_ahead(config: PipelineConfig, missing: list[str]) -> None:
    """Import what making images and sequences takes: torch, and for some images torchvision."""
    if "images" in missing:
        import_module("rnnpipe.data.pictures")  # brings matplotlib
        load_code(DATASETS[config.data.name], f"data.name {config.data.name}")
    if "sequences" in missing:
        import_module("sklearn.model_selection")
        load_code(SEQUENCES[config.sequence.name], f"sequence.name {config.sequence.name}")
