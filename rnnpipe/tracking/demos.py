"""A toy demo as an MLflow run: parameters, the parity check's differences, outputs Y0 and Y1 as JSON."""

import time
from typing import Any

from rnnpipe.files import digest_of, scratch_folder, write_json
from rnnpipe.tracking.client import Tracking, retried
from rnnpipe.tracking.runs import (
    MetricPoint,
    RunSpec,
    finish_run,
    log_artifact_files,
    log_points,
    start_run,
)

EXPERIMENT = "recurrence-demos"


@retried
def record_demo(tracking: Tracking, report: dict[str, Any], tags: dict[str, str]) -> str:
    """Record a demo's report; the same report is the same run. Returns the run's id."""
    now_ms = time.time_ns() // 1_000_000
    params = {
        "demo": report["name"],
        "summary": report["summary"],
        "seed": report["seed"],
        "tolerance": report["tolerance"],
    }
    shapes = {f"shape_{name}": " x ".join(map(str, shape)) for name, shape in report["shapes"].items()}
    run_id = start_run(tracking, RunSpec(digest_of(report), report["name"], {**params, **shapes}, tags, now_ms))
    log_points(tracking, run_id, [MetricPoint(name, value, 0, 0) for name, value in demo_metrics(report).items()])
    with scratch_folder() as folder:
        path = folder / "report.json"
        write_json(path, report)
        log_artifact_files(tracking, run_id, [path], "")
    finish_run(tracking, run_id, "FINISHED", now_ms)
    return run_id


def demo_metrics(report: dict[str, Any]) -> dict[str, float]:
    """Return the largest difference of each pair, of all pairs, and 1 or 0 for whether the cells agree."""
    metrics: dict[str, float] = {"parity/agrees": float(report["agrees"])}
    for parity in report["parity"]:
        pair = "-and-".join(parity["pair"])
        metrics[f"parity/{pair}/outputs"] = parity["output_difference"]
        metrics[f"parity/{pair}/gradients"] = parity["gradient_difference"]
    metrics["parity/largest_difference"] = max(value for name, value in metrics.items() if name != "parity/agrees")
    return metrics
