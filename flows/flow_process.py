"""The process of a flow run below `rnnpipe worker`: Prefect's engine, bound to its worker and to its server.

Run with -m and the worker's process id. When the worker dies, however it does, the run is asked to end: it reports
that it crashed, and the next worker goes on with it. If its server is the workspace's, that stays up until then.
"""

import contextlib
import os
import runpy
import signal
import sys

from flows.server import running_url, service_folder
from rnnpipe.processes.lifetime import die_with_parent
from rnnpipe.processes.service import using
from rnnpipe.store import workspace_root

MODULE = "flows.flow_process"


def main() -> None:
    """Run the flow run that Prefect's environment variables name."""
    die_with_parent(int(sys.argv.pop()), signal.SIGTERM)
    # Prefect's engine reports the run's end, then sends the signal again: an orderly end, which lets go of the run
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    workspace = workspace_root()
    is_own = running_url(workspace) == os.environ.get("PREFECT_API_URL")
    with using(service_folder(workspace)) if is_own else contextlib.nullcontext():
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
