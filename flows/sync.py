"""`rnnpipe sync`: MLflow is told what it couldn't be told before. Without Prefect: nothing is trained."""

from flows.environment import set_defaults
from flows.progress import Progress
from flows.run import open_workspace
from flows.spool import waiting


def deliver_all(progress: Progress) -> tuple[int, int]:
    """Send MLflow everything that waits in the spool; return how many outcomes it took, and how many wait."""
    workspace = open_workspace()
    set_defaults(workspace)
    if not waiting(workspace):
        return 0, 0
    from flows.delivery import deliver_waiting
    from flows.session import open_session, show_progress_on

    show_progress_on(progress)
    with open_session() as session:
        delivered = deliver_waiting(session, waiting(workspace))
    return delivered, len(waiting(workspace))
