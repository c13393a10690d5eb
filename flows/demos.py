"""The tutorials' toy runs as a flow: four instances, two time steps, one and five neurons; tracked."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from flows.session import Session, open_session
from rnnpipe.errors import TrackingError
from rnnpipe.models.demos import run_demos
from rnnpipe.tracking.addresses import resolve_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.demos import EXPERIMENT, demo_metrics, record_demo


class DemosOutcome(BaseModel):
    """The reports of the demos and their runs in MLflow."""

    model_config = ConfigDict(frozen=True)

    reports: tuple[dict[str, Any], ...]
    run_ids: tuple[str, ...]
    tracking_problem: str = ""

    @property
    def parity_lines(self) -> list[str]:
        """Each demo's largest difference, in words."""
        return [
            f"{report['name']}: {demo_metrics(report)['parity/largest_difference']:.1e}"
            f" ({'agrees' if report['agrees'] else 'DIFFERS'}, tolerance {report['tolerance']:g})"
            for report in self.reports
        ]


@task(name="demos", task_run_name="demos seed {seed}", persist_result=False)
def compute_demos(seed: int) -> list[dict[str, Any]]:
    """Run the demos and the parity check."""
    return [asdict(report) for report in run_demos(seed)]


@task(name="record demo", task_run_name="record {report[name]}", persist_result=False)
def record(report: dict[str, Any], tags: dict[str, str], workspace: str) -> str:
    """Record one demo in MLflow."""
    folder = Path(workspace)
    return record_demo(open_tracking(resolve_uri(None, folder), EXPERIMENT, folder), report, tags)


@flow(name="recurrence_demos", flow_run_name="recurrence demos, seed {seed}")
def recurrence_demos(seed: int = 0) -> DemosOutcome:
    """Run the tutorials' toy demos, check that the cells agree, and track them."""
    with open_session() as session:
        reports = session.submit(compute_demos, seed=seed).result()
        run_ids, problem = _record_all(session, reports)
    outcome = DemosOutcome(reports=tuple(reports), run_ids=run_ids, tracking_problem=problem)
    lines = "\n".join(f"- {line}" for line in outcome.parity_lines)
    if session.in_prefect:
        create_markdown_artifact(key="recurrence-demos", markdown=f"# Recurrence demos\n\n{lines}\n")
    return outcome


def _record_all(session: Session, reports: list[dict[str, Any]]) -> tuple[tuple[str, ...], str]:
    try:
        futures = [
            session.submit(record, report=report, tags=session.tags(), workspace=str(session.workspace))
            for report in reports
        ]
        return tuple(future.result() for future in futures), ""
    except TrackingError as error:
        return (), str(error)
