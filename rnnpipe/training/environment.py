"""What a training ran with, kept beside its journal: it decides whether another machine can make the same bits."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from rnnpipe.files import digest_of, read_json, write_json
from rnnpipe.provenance import code_revision, installed_packages

ENVIRONMENT_FILE = "log/environment.json"
SEAL = "sha256"  # of the rest: an unfinished training has no manifest yet that would tell


class Environment(BaseModel):
    """Libraries, CPU and code; `torch` names the build, `cores` are those this process may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str
    platform: str
    torch: str
    numpy: str
    safetensors: str
    cpu_capability: str
    cores: int
    revision: str
    packages: tuple[str, ...]

    @classmethod
    def of_this_process(cls) -> Self:
        """Return what this process runs with."""
        import torch  # reading what others ran with does without

        return cls(
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.machine()}",
            torch=f"{torch.__version__} {torch.version.git_version or ''}".strip(),
            numpy=version("numpy"),
            safetensors=version("safetensors"),
            cpu_capability=torch.backends.cpu.get_cpu_capability(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            revision=code_revision(),
            packages=installed_packages(),
        )

    @classmethod
    def of_training(cls, folder: Path) -> Self:
        """Return what a training's folder says that it ran with; ValueError where that was altered or torn."""
        try:
            values = read_json(folder / ENVIRONMENT_FILE)
            seal = values.pop(SEAL)
        except (AttributeError, KeyError, TypeError):
            raise ValueError(f"{ENVIRONMENT_FILE} is none") from None
        if seal != digest_of(values):
            raise ValueError(f"{ENVIRONMENT_FILE} isn't as it was written")
        return cls.model_validate(values)


def keep_environment(folder: Path) -> None:
    """Write into a training's folder what it runs with; one that goes on after a kill keeps what stands there."""
    try:
        Environment.of_training(folder)
    except (OSError, ValueError):
        values = Environment.of_this_process().model_dump(mode="json")
        write_json(folder / ENVIRONMENT_FILE, {**values, SEAL: digest_of(values)})
