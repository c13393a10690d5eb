"""Becoming a service: its settings and secrets, what is set already first, and another command in its place."""

import json
import os
import subprocess
import sys
from pathlib import Path

from workspaces import OF_A_USER

from flows.stack.secret_files import make_secrets

SHOW = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"


def test_another_command_runs_with_what_the_service_has(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    make_secrets(secrets)
    others = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_USER)}
    set_already = {
        "RNNPIPE_HOME": str(tmp_path / "home"), "RNNPIPE_SECRETS": str(secrets), "RNNPIPE_SERVICE": "mlflow",
        "RNNPIPE_POSTGRES": "postgres:5432",
        "MLFLOW_DISABLE_TELEMETRY": "set before", "MLFLOW_AUTH_ADMIN_PASSWORD": "password1234",
    }  # fmt: skip
    command = [sys.executable, "-m", "rnnpipe", "stack", "service", sys.executable, "-c", SHOW, "--name", "-h"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=others | set_already)
    environment, arguments = json.loads(done.stdout)
    assert arguments == ["--name", "-h"]
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "set before"
    password = (secrets / "mlflow_password").read_text(encoding="ascii").strip()
    assert environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == password
    logins = Path(environment["MLFLOW_AUTH_CONFIG_PATH"])
    assert logins == tmp_path / "home" / "stack" / "mlflow" / "logins.ini"
    text = logins.read_text(encoding="utf-8")
    assert "mlflow@postgres:5432/mlflow_logins" in text and "auth_cache_ttl_seconds = 60" in text
    assert not [path for path in secrets.iterdir() if path.read_text(encoding="ascii").strip() in text]


def test_a_name_that_is_no_service_is_told_with_those_that_are(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rnnpipe", "stack", "service", "--name", "mlfow"]
    environment = {**os.environ, "RNNPIPE_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2 and "mlflow-upgrade, mlflow, deploy, worker" in done.stderr
