"""A training from outside its process: started, followed through its journal, stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnnpipe.config import PipelineConfig
from rnnpipe.processes.launcher import Launcher
from rnnpipe.references import Recipe
from rnnpipe.store import Entry, Store
from rnnpipe.training.job import TARGET, collect, prepare
from rnnpipe.training.journal import Event, JournalReader

# what each training and each evaluation would import anew, two seconds for sklearn.metrics alone
PRELOADED = ("rnnpipe.training.work", "rnnpipe.evaluation.evaluate", "sklearn.metrics")

OnEvents = Callable[[Path, list[Event]], None]
OnBusy = Callable[[str], None]


def train_supervised(
    launcher: Launcher, store: Store, recipe: Recipe, *, job: dict[str, Any], run: str, on_events: OnEvents,
    on_busy: OnBusy = lambda held: None,
) -> Entry:  # fmt: skip
    """Return the trained model of a recipe, training it in a process of its own if it isn't stored.

    `job` has what `prepare` needs: sequences_folder, config, variant, seed. `on_events(folder, events)` gets what
    the journal says as it grows; `on_busy(text)` which device it waits for and who holds it. Raises what stopped
    the training.
    """
    config: PipelineConfig = job["config"]

    def build(folder: Path) -> dict[str, Any]:
        prepare(folder, run=run, **job)
        reader = JournalReader(folder, from_next_start=True)
        launcher.run(
            TARGET,
            folder,
            timeout_s=config.execution.timeout_s,
            while_waiting=lambda: on_events(folder, reader.new_events()),
            on_busy=on_busy,
        )
        return collect(folder)

    return store.ensure(recipe, build, run)
