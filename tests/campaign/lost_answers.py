"""Lost acknowledgements: MLflow's server does what it is asked, and the answer is lost on the way.

What is delivered is an outcome from the spool; each round sends it to an experiment and a model of its own.
"""

import json
import logging
import os
import random
import sys
from pathlib import Path
from typing import Any

from reporting import Tally
from small_job import StrangerHere, Trial, config_of
from state import problems_of

from rnnpipe.config import PipelineConfig

sys.path.append(str(Path(__file__).parents[1] / "tracking"))

PROMISE = "delivered exactly once: one run equal to the journal, one stored model, one version"
UNREACHABLE = "http://127.0.0.1:9"
REQUESTS = 90  # about as many as a delivery makes
MAX_DELIVERIES = 5


def undelivered(folder: Path) -> Trial:
    """Return a workspace with an outcome in its spool."""
    trial = Trial(folder / "undelivered", config_of("rnn"), {"MLFLOW_TRACKING_URI": UNREACHABLE})
    code = trial.run()
    assert code == 5, (code, trial.told())
    return trial


def lost_answers(trial: Trial, wanted: int, seed: int) -> Tally:
    """Lose so many answers, 1 to 5 in a delivery, and deliver until the spool is empty."""
    from fault_proxy import FaultProxy
    from tracking_helpers import mlflow_server

    from flows.sync import deliver_all
    from rnnpipe.cli.progress import PlainProgress
    from rnnpipe.tracking import promotion

    logging.disable(logging.WARNING)
    promotion.Stranger = StrangerHere  # type: ignore[misc,assignment]
    (spooled,) = trial.home.glob("spool/*.json")
    outcome: dict[str, Any] = json.loads(spooled.read_text(encoding="utf-8"))
    tally = Tally("the answer of MLflow's server is lost", PROMISE)
    place = trial.folder / "server"
    place.mkdir()
    with mlflow_server(place) as (uri, _), FaultProxy(uri) as proxy:
        os.environ.update(RNNPIPE_HOME=str(trial.home), MLFLOW_TRACKING_URI=proxy.uri)
        while tally.injections < wanted:
            chance, name = random.Random(seed), f"round-{seed}"
            config = {**outcome["config"], "tracking": {"experiment": name}, "registry": {"model_name": name}}
            spooled.write_text(json.dumps({**outcome, "config": config}), encoding="utf-8")
            for place in sorted(chance.sample(range(REQUESTS), chance.randint(1, 5))):
                proxy.fail("lose", skip=place, times=1)
            proxy.failed.clear()
            for _ in range(MAX_DELIVERIES):
                _, waiting = deliver_all(PlainProgress())
                if not waiting:
                    break
            proxy.heal()
            problems = ["it was never delivered"] if waiting else []
            problems += problems_of(trial.home, PipelineConfig.model_validate(config))
            lost = ", ".join(proxy.failed)
            tally.add_several(len(proxy.failed), [f"{name}: {each}; lost: {lost}" for each in problems])
            seed += 1
    return tally
