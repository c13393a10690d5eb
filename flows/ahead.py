"""What a run needs besides Prefect, started before Prefect is imported and while its server starts."""

from collections.abc import Iterable, Iterator

from flows.why import forecast
from rnnpipe.catalogue import DATASETS, SEQUENCES
from rnnpipe.config import PipelineConfig
from rnnpipe.errors import RnnpipeError
from rnnpipe.plugins import Registered
from rnnpipe.processes.launcher import Launcher
from rnnpipe.store import Store
from rnnpipe.training.supervise import PRELOADED

_launchers: list[Launcher] = []  # started for the next session


def take_launcher() -> Launcher:
    """Return a launcher, the one that was started ahead if there is one."""
    return _launchers.pop() if _launchers else Launcher(PRELOADED)


def start_ahead(config: PipelineConfig) -> None:
    """Let the fork server import what a run needs: first what makes images and sequences, where they aren't there.

    Nothing is started where the run has no use for it.
    """
    try:
        images, sequences, *others = [stage.output for stage in forecast(config, Store.of_workspace())]
    except RnnpipeError:  # of a folder that can't be read, the run tells
        return
    if None not in (images, sequences, *others) or _launchers:
        return
    needed: list[str | Registered] = []
    if images is None:
        needed += ["rnnpipe.data.pictures", DATASETS[config.data.name]]
    if sequences is None:
        needed += ["sklearn.model_selection", SEQUENCES[config.sequence.name]]
    _launchers.append(Launcher([*_modules(needed), *PRELOADED]))
    _launchers[0].warm_up()


def _modules(needed: Iterable[str | Registered]) -> Iterator[str]:
    """Yield the modules of what is given as one, or as a spec; not of a plug-in, which may do anything."""
    for each in needed:
        if isinstance(each, str):
            yield each
        elif not each.origin:
            yield each.target.partition(":")[0]
