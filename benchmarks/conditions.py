"""What figures depend on besides the code, and how it is told."""

import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.rounds import load_sentence
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.provenance import code_revision
from rnnpipe.runtime import describe_device


def conditions(threads: int | list[int], **more: Any) -> dict[str, Any]:
    """Return device, cores, threads, versions, platform and date, with what a benchmark adds."""
    return {
        "device": describe_device(torch.device("cpu")),
        "cpu_model": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": cpu_cores(),
        "threads": threads,
        "torch": str(torch.__version__),
        "lightning": installed("lightning"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "revision": code_revision(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    }


def cpu_model(description: Path = Path("/proc/cpuinfo")) -> str:
    """Return what tells processors of one name apart, as "family 26 model 2" (Linux); "" where nothing does."""
    if not description.exists():
        return ""
    found = re.findall(r"^(?:cpu )?(family|model)\s*: (\d+)$", description.read_text(encoding="utf-8"), re.M)
    return " ".join(f"{name} {number}" for name, number in found[:2])


def installed(package: str) -> str | None:
    """Return the version of a package, None where it isn't installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def closing(result: dict[str, Any]) -> str:
    """Return the last paragraph of a section: when and where it was measured, and under which load."""
    return f"{made(result)}\n{load_sentence(result['load'])}"


def not_measured(absent: Iterable[tuple[str, str]]) -> str:
    """Return the sentence about what isn't there, as pairs of name and reason; nothing where all is."""
    missing = "; ".join(f"{name}: {why.removeprefix('fp32: ')}" for name, why in sorted(set(absent)))
    return f"Not measured: {missing}." if missing else ""


def made(result: dict[str, Any]) -> str:
    """Return when and where a result was measured."""
    known = result["conditions"]
    kind = ", ".join(filter(None, [known.get("cpu_model"), known["cpu_capability"]]))
    return (
        f"Measured {known['measured_at']} on {known['device']} ({kind}, {known['cores']} cores),\n"
        f"torch {known['torch']}, Python {known['python']}, {known['platform']}"
        f"{', rnnpipe ' + known['revision'] if 'revision' in known else ''}."
    )
