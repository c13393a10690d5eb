"""A sweep whose trainings are a formula; as a program, one that kills itself at a point."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from rnnpipe.config import PipelineConfig
from rnnpipe.sweeping.facts import TrialFacts
from rnnpipe.sweeping.study import open_study

EPOCHS = 4


def config_of(**plan: Any) -> PipelineConfig:
    parameters = {
        "training.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "variants.0.hidden_size": {"low": 16, "high": 64, "step": 16},
        "training.schedule": {"choices": ["constant", "one-cycle"]},
    }
    training = {"epochs": EPOCHS}
    return PipelineConfig.model_validate(
        {"variants": [{"name": "gru"}], "training": training, "sweep": {"parameters": parameters, **plan}}
    )


def accuracy_of(values: Any, epoch: int = EPOCHS) -> float:
    rate, size = values["training.learning_rate"], values["variants.0.hidden_size"]
    return float(0.9 - 4 * abs(rate - 0.02) + size / 2000 - 0.3 / epoch + 0.3 / EPOCHS)


def sweep_all(
    workspace: Path, config: PipelineConfig, *, name: str = "a", point: str = "", log: list[str] | None = None
) -> tuple[TrialFacts, ...]:
    """Run all trials that are missing; at the point, such as "report 7 2", the process kills itself."""

    def reach(here: str) -> None:
        if here == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with open_study(workspace, name, config) as study:
        while (trial := study.next()) is not None:
            if log is not None:
                log.append(f"{'goes on' if trial.was_begun else 'begins'} {trial.number}")
            reach(f"ask {trial.number}")
            state, epoch = "complete", 0
            for epoch in range(1, EPOCHS + 1):
                is_too_little = study.report(trial.number, epoch, accuracy_of(trial.values, epoch))
                reach(f"report {trial.number} {epoch}")
                if is_too_little and epoch < EPOCHS:
                    state = "pruned"
                    break
            reach(f"tell {trial.number}")
            accuracy = accuracy_of(trial.values) if state == "complete" else None
            study.tell(trial.number, state, accuracy, epochs=epoch, trainings=[f"key{trial.number}"])  # type: ignore[arg-type]
        return study.trials()


if __name__ == "__main__":
    sweep_all(Path(sys.argv[1]), config_of(trials=int(sys.argv[2])), point=" ".join(sys.argv[3:]))
