"""Completion, in a real bash: what a Tab offers, and that it is light."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_commands import HEAVY, ROOT
from workspaces import Workspace

from rnnpipe.tracking.names import registered_names

BASH, FISH = shutil.which("bash"), shutil.which("fish")
# what readline does at a Tab: the words so far, and the function that the script has bound to the command
TAB = """
eval "$(rnnpipe completion bash)"
COMP_WORDS=(rnnpipe "$@"); COMP_CWORD=$#; COMPREPLY=()
compopt() { printf '%s ' compopt "$@"; echo; }
bound=$(complete -p rnnpipe); bound=${bound##*-F }; ${bound%% *} rnnpipe
printf '%s\\n' "${COMPREPLY[@]}"
"""


def with_program(workspace: Workspace) -> dict[str, str]:
    """Return the environment of a shell that finds rnnpipe."""
    programs = workspace.folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "rnnpipe").write_text(f"#!{sys.executable}\nfrom rnnpipe.cli import main\nmain()\n")
    (programs / "rnnpipe").chmod(0o700)
    return {**workspace.environment, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def tab(workspace: Workspace, *words: str) -> list[str]:
    """Return what bash offers after these words, the last of which is begun."""
    done = subprocess.run(
        [str(BASH), "--norc", "-c", TAB, "bash", *words], cwd=workspace.folder, env=with_program(workspace),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not done.stderr
    return [line.strip() for line in done.stdout.splitlines() if line]


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.usefixtures("first_run")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["promo"], ["promote"]),
        (["run", "c.yaml", "--s"], ["--set"]),
        (["run", "c.yaml", "--set", "training.ep"], ["compopt -o nospace", "training.epochs="]),
        (["sweep", "c.yaml", "--set", "sweep.tri"], ["compopt -o nospace", "sweep.trials="]),
        (["why", "c.yaml", "--set", "variants.0.hid"], ["compopt -o nospace", "variants.0.hidden_size="]),
        (["predict", "dig"], ["digits-rows"]),
        (["rollback", "digits-r"], ["digits-rows"]),
        (["demo", "dig"], ["digits-rows"]),
        (["serve-model", "dig"], ["digits-rows"]),
        (["report", "dig"], ["digits-rows"]),
        (["compare", "digits-rows", "configs/q"], ["compopt -o default"]),  # files
        (["announce", "fash"], ["fashion-mnist"]),
        (["run", ""], ["compopt -o default"]),  # files
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes(workspace: Workspace, words: list[str], offered: list[str]) -> None:
    assert tab(workspace, *words) == offered


@pytest.mark.skipif(FISH is None, reason="no fish")
@pytest.mark.usefixtures("first_run")
def test_fish_completes(workspace: Workspace) -> None:
    line = "rnnpipe completion fish | source; complete -C 'rnnpipe predict dig'"
    done = subprocess.run(
        [str(FISH), "--no-config", "-c", line], cwd=workspace.folder, env=with_program(workspace),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["digits-rows"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rnnpipe", "completion", shell],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_RNNPIPE_COMPLETE={shell}_complete" in done.stdout and not done.stderr


def test_a_tab_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rnnpipe.cli import main\n"
        "try: main([])\nexcept SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    words = {"_RNNPIPE_COMPLETE": "bash_complete", "COMP_WORDS": "rnnpipe predict d", "COMP_CWORD": "2"}
    command = [sys.executable, "-c", code.replace("from rnnpipe", "sys.argv[0] = 'rnnpipe'; from rnnpipe", 1)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **words}, capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert "rnnpipe" in loaded and loaded & HEAVY == set() and "Usage" not in done.stdout


def test_where_nothing_can_be_read_no_name_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert registered_names(tmp_path) == []
    (tmp_path / "mlflow.db").write_text("no database")
    assert registered_names(tmp_path) == []
    assert registered_names(tmp_path / "?") == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert registered_names(tmp_path) == []
