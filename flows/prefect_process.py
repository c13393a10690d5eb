"""Prefect's server: its own command, once what it consists of is imported. `-m flows.prefect_process start`."""

import runpy
import sys

from rnnpipe.processes.importing import importing

if __name__ == "__main__":
    with importing():
        import prefect.server.api.server  # noqa: F401
    sys.argv.insert(1, "server")
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
