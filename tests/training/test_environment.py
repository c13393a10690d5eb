"""What a training ran with: kept over kills, and made anew where it isn't whole."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rnnpipe.training.environment import ENVIRONMENT_FILE, Environment, keep_environment

DAMAGE: dict[str, Callable[[str], str]] = {
    "altered": lambda text: text.replace('"cores": ', '"cores": 1'),
    "torn": lambda text: text[: len(text) // 2],
    "emptied": lambda text: "",
    "of another kind": lambda text: "[]",
}


def test_what_stands_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_environment(tmp_path)
    first = (tmp_path / ENVIRONMENT_FILE).read_text()
    monkeypatch.setattr("rnnpipe.training.environment.code_revision", lambda: "a later one")
    keep_environment(tmp_path)
    assert (tmp_path / ENVIRONMENT_FILE).read_text() == first
    assert Environment.of_training(tmp_path) == Environment.of_training(tmp_path)


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_damaged_is_refused_and_made_anew(tmp_path: Path, damage: str) -> None:
    keep_environment(tmp_path)
    path = tmp_path / ENVIRONMENT_FILE
    path.write_text(DAMAGE[damage](path.read_text()))
    with pytest.raises(ValueError):
        Environment.of_training(tmp_path)
    keep_environment(tmp_path)
    assert Environment.of_training(tmp_path).cores >= 1
