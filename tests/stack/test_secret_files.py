"""The stack's secrets: made at random, refused where they are none, and never shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from workspaces import OF_A_USER

from flows.doctor import check_passwords
from flows.stack.secret_files import SECRETS, make_secrets, read_secret
from rnnpipe.errors import RnnpipeError

BAD = {
    "mlflow_password": [
        "", "password1234", "short-one", "Change-Me-Please", "<your password>", "xxxxxxxxxxxxxxxx",
        "${MLFLOW_PASSWORD}", "with some spaces", "two-lines-\nof-text", "not-ascii-äöü",
    ],
    "prefect_login": [
        "4a5f0e7b9c1d3e5f", ":4a5f0e7b9c1d3e5f", "admin:admin", "admin:changeme12345", "someone:someone",
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_of_the_user_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(OF_A_USER)]:
        monkeypatch.delenv(name)


def test_secrets_are_random_each_a_file_and_only_the_owner_gets_to_them(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        assert {path.name for path in make_secrets(folder)} == set(SECRETS)
        assert folder.stat().st_mode & 0o777 == 0o700
        # containers read them as another user, each through a mount of its own
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
        assert make_secrets(folder) == []
    texts = [read_secret(folder, name).rpartition(":")[2] for folder in folders for name in SECRETS]
    assert len(set(texts)) == 2 * len(SECRETS) and min(map(len, texts)) >= 48


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_what_is_no_secret_is_refused_unseen(tmp_path: Path, name: str, text: str) -> None:
    make_secrets(tmp_path)
    (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(RnnpipeError) as caught:
        read_secret(tmp_path, name)
    assert str(tmp_path / name) in str(caught.value)
    assert not text or text not in str(caught.value)


def test_a_missing_secret_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(RnnpipeError) as caught:
        read_secret(tmp_path, "mlflow_password")
    assert caught.value.fix == f"rnnpipe stack secrets {tmp_path}"


def test_the_doctor_looks_at_the_secrets_of_the_stack(tmp_path: Path) -> None:
    assert check_passwords(tmp_path) == "no default password in the environment"
    make_secrets(tmp_path / "stack" / "secrets")
    assert check_passwords(tmp_path) == "no default password in the environment or the secrets of the stack"
    (tmp_path / "stack" / "secrets" / "postgres_password").write_text("postgres\n", encoding="ascii")
    with pytest.raises(RnnpipeError, match="is a default or a placeholder"):
        check_passwords(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [["secrets", "--check"], ["service", "--name", "mlflow"], ["service", "--name", "postgres"], ["up"]],
    ids=lambda arguments: arguments[0],
)
def test_nothing_starts_with_a_default(tmp_path: Path, arguments: list[str]) -> None:
    secrets = tmp_path / "secrets"
    make_secrets(secrets)
    for name in ("mlflow_password", "postgres_password"):
        (secrets / name).write_text("password1234\n", encoding="ascii")
    environment = {**os.environ, "RNNPIPE_HOME": str(tmp_path / "home"), "RNNPIPE_SECRETS": str(secrets)}
    command = [sys.executable, "-m", "rnnpipe", "stack", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert ended.returncode == 1 and "is a default or a placeholder" in ended.stderr
    assert "password1234" not in ended.stdout + ended.stderr
