"""An unfinished training on its way to another machine: what is left, taken over, and seen meanwhile."""

import hashlib
from pathlib import Path

import pytest

from rnnpipe.exchange import Exchange, FilePlace
from rnnpipe.files import write_json
from rnnpipe.handover import SHARE, Handover, Mirror, begun, pack
from rnnpipe.training.environment import ENVIRONMENT_FILE
from rnnpipe.training.journal import CHECKPOINT_FOLDER, JOURNAL_FILE, JournalReader, newest_checkpoint

PLACE = "trainings/ab"
STEP = "step-{:010d}-epoch-00001"


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(FilePlace(str(tmp_path / "shared")), str(tmp_path / "shared"))


def line(number: int) -> str:
    return f'{{"event": "checkpoint", "step": {number}}}\n'


def go_on(folder: Path, number: int, *, also: str = "") -> Path:
    """Write what a training leaves that has made so many updates: a checkpoint, its line, and what came since."""
    journal = folder / JOURNAL_FILE
    journal.parent.mkdir(parents=True, exist_ok=True)
    before = journal.read_bytes() if journal.exists() else b""
    mark = {"length": len(before), "sha256": hashlib.sha256(before).hexdigest()}
    journal.write_bytes(before + line(number).encode() + also.encode())
    place = folder / CHECKPOINT_FOLDER
    place.mkdir(exist_ok=True)
    (place / f"{STEP.format(number)}.safetensors").write_bytes(b"%d" % number)
    write_json(place / f"{STEP.format(number)}.json", {"progress": {"mark": mark, "journal_line": line(number)}})
    write_json(folder / ENVIRONMENT_FILE, {})
    return folder


def test_the_names_are_those_of_checkpoints() -> None:
    from rnnpipe.training.checkpoint import Progress, _stem  # brings torch

    assert _stem(Progress(epoch=1, step=7)) == STEP.format(7)


def test_what_is_packed_ends_with_the_newest_checkpoint(tmp_path: Path) -> None:
    assert pack(tmp_path / "none", tmp_path / "nothing") == ""
    folder = go_on(tmp_path / "folder", 1)
    go_on(folder, 2, also='{"event": "steps"}\n{"event": "st')
    assert pack(folder, tmp_path / "packed") == STEP.format(2)
    assert (tmp_path / "packed" / JOURNAL_FILE).read_text() == line(1) + line(2)
    assert {path.stem for path in (tmp_path / "packed" / CHECKPOINT_FOLDER).iterdir()} == {STEP.format(2)}
    (folder / JOURNAL_FILE).write_text("altered")
    assert pack(folder, tmp_path / "again") == ""


def test_another_machine_takes_over_the_newest(exchange: Exchange, tmp_path: Path) -> None:
    for name, number in (("first", 3), ("second", 12), ("third", 9)):
        folder = go_on(tmp_path / name, number)
        Handover(exchange, f"{PLACE}-{name}", folder).leave()
        (tmp_path / "shared" / f"{PLACE}-{name}").rename(tmp_path / f"left-{name}")
    (tmp_path / "shared" / PLACE).mkdir()
    for name in ("first", "second", "third"):
        (work,) = (tmp_path / f"left-{name}").iterdir()
        work.rename(tmp_path / "shared" / PLACE / work.name)
    other = tmp_path / "other"
    go_on(other, 5)
    (other / "stale").touch()
    handover = Handover(exchange, PLACE, other)
    assert handover.take() == STEP.format(12) == newest_checkpoint(other)
    assert not (other / "stale").exists() and (other / JOURNAL_FILE).read_text() == line(12)
    assert handover.take() == ""
    handover.leave()  # it has nothing new yet
    assert len(begun(exchange, PLACE)) == 3
    go_on(other, 20)
    handover.leave()
    ((newest, _, _),) = begun(exchange, PLACE)
    assert newest == STEP.format(20)


def test_who_was_taken_for_dead_removes_nothing_newer(exchange: Exchange, tmp_path: Path) -> None:
    Handover(exchange, PLACE, go_on(tmp_path / "other", 9)).leave()
    slow = Handover(exchange, PLACE, tmp_path / "slow")
    go_on(tmp_path / "slow", 5)
    slow.leave()
    assert {newest for newest, _, _ in begun(exchange, PLACE)} == {STEP.format(5), STEP.format(9)}


def test_of_damaged_work_the_older_is_taken(exchange: Exchange, tmp_path: Path) -> None:
    Handover(exchange, PLACE, go_on(tmp_path / "one", 4)).leave()
    old = tmp_path / "old"
    (tmp_path / "shared" / PLACE).rename(old)
    Handover(exchange, PLACE, go_on(tmp_path / "two", 8)).leave()
    for path in (tmp_path / "shared" / PLACE).glob("*/*"):
        if path.suffix != ".json":
            path.write_bytes(b"damaged")
    for work in old.iterdir():
        work.rename(tmp_path / "shared" / PLACE / work.name)
    (tmp_path / "here").mkdir()
    assert Handover(exchange, PLACE, tmp_path / "here").take() == STEP.format(4)


def test_leaving_takes_a_small_share_of_the_time(
    exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, put = [100.0], exchange.put
    monkeypatch.setattr("rnnpipe.handover.time.monotonic", lambda: clock[0])
    handover = Handover(exchange, PLACE, go_on(tmp_path / "folder", 1))

    def slow(*arguments: object) -> object:
        clock[0] += 2
        return put(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exchange, "put", slow)
    for number in range(1, 60):
        go_on(tmp_path / "folder", number)
        handover.leave()
        clock[0] += 1
    assert clock[0] < 100 + 59 + 2 * (59 / SHARE + 2)
    handover.leave_at_last()
    assert begun(exchange, PLACE)[0][0] == STEP.format(59)


def test_a_begun_training_is_offered_unless_others_are_further(exchange: Exchange, tmp_path: Path) -> None:
    Handover(exchange, PLACE, tmp_path / "nothing").offer()
    assert begun(exchange, PLACE) == []
    Handover(exchange, PLACE, go_on(tmp_path / "here", 4)).offer()
    Handover(exchange, PLACE, go_on(tmp_path / "older", 3)).offer()
    assert [newest for newest, _, _ in begun(exchange, PLACE)] == [STEP.format(4)]


def test_whoever_watches_is_told_each_line_once(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    mirror, reader = Mirror(exchange, PLACE, tmp_path / "here"), JournalReader(tmp_path / "here")
    told: list[int] = []

    def look() -> None:
        mirror.look()
        told.extend(event["step"] for event in reader.new_events())

    look()
    first = Handover(exchange, PLACE, go_on(tmp_path / "one", 1, also=line(2)))
    first.leave()
    look()
    second = Handover(exchange, PLACE, tmp_path / "two")
    (tmp_path / "two").mkdir()
    second.take()
    go_on(tmp_path / "two", 3)
    second.leave_at_last()
    look()
    look()
    assert told == [1, 3]
