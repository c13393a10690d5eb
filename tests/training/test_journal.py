import json
import math
from pathlib import Path

import pytest

from rnnpipe.training.journal import (
    JOURNAL_FILE,
    JournalReader,
    Mark,
    epochs_of,
    event_line,
    final_events,
    holds,
    read_journal,
    step_losses,
)

ACCENTS = "Grüße, 数字"


@pytest.fixture(name="file")
def make_file(tmp_path: Path) -> Path:
    return tmp_path / JOURNAL_FILE


def test_events_come_back_in_order_with_their_times(open_journal, tmp_path):
    journal = open_journal(tmp_path)
    for epoch in (1, 2):
        journal.append(event_line("steps", epoch=epoch))
        journal.append(event_line("epoch", epoch=epoch, note=ACCENTS))
    events = read_journal(tmp_path)
    assert [(event["event"], event["epoch"]) for event in events] == [
        ("steps", 1),
        ("epoch", 1),
        ("steps", 2),
        ("epoch", 2),
    ]
    assert [event["note"] for event in epochs_of(events)] == [ACCENTS] * 2
    assert all(event["time_ms"] > 1.7e12 for event in events)


@pytest.mark.parametrize("loss", [0.1, 1 / 3, 5e-324, math.pi * 1e300, 2.3025851249694824])
def test_hexadecimal_losses_are_exact(open_journal, tmp_path, loss):
    open_journal(tmp_path).append(event_line("steps", losses=[loss.hex()]))
    assert float.fromhex(read_journal(tmp_path)[0]["losses"][0]) == loss


def test_a_mark_counts_bytes_not_characters(open_journal, tmp_path, file):
    journal = open_journal(tmp_path)
    journal.append(f'{{"event": "{ACCENTS}"}}\n')
    mark = journal.sync()
    assert mark.length == file.stat().st_size > len(file.read_text(encoding="utf-8"))
    journal.append("dropped\n")
    open_journal(tmp_path, mark, "next\n")
    assert file.read_text(encoding="utf-8") == f'{{"event": "{ACCENTS}"}}\nnext\n'


@pytest.mark.parametrize("after", ["", "ne", "next\n", "next\nmore\n", "next\nmo"])
def test_a_journal_goes_on_from_its_mark_whatever_a_kill_left_after_it(open_journal, tmp_path, file, after):
    journal = open_journal(tmp_path)
    journal.append("one\n")
    mark = journal.sync()
    journal.append(after)
    again = open_journal(tmp_path, mark, "next\n")
    again.append("last\n")
    assert file.read_text(encoding="utf-8") == "one\nnext\nlast\n"
    assert again.sync().length == file.stat().st_size and holds(tmp_path, again.sync())


def test_a_journal_that_lost_or_changed_what_stood_before_a_mark_does_not_hold_it(open_journal, tmp_path, file):
    journal = open_journal(tmp_path)
    journal.append("one\ntwo\n")
    mark = journal.sync()
    assert holds(tmp_path, mark) and holds(tmp_path, Mark())
    file.write_bytes(b"one\ntw")
    assert not holds(tmp_path, mark)
    file.write_bytes(b"one\ntwO\nthree\n")
    assert not holds(tmp_path, mark)
    file.unlink()
    assert not holds(tmp_path, mark) and holds(tmp_path, Mark())


def test_a_torn_last_line_is_left_out_until_it_is_whole(open_journal, tmp_path):
    journal = open_journal(tmp_path)
    reader = JournalReader(tmp_path)
    line = event_line("epoch", epoch=1)
    journal.append(line)
    journal.append(line[:20])
    assert len(read_journal(tmp_path)) == len(reader.new_events()) == 1
    journal.append(line[20:])
    assert len(reader.new_events()) == 1 and reader.new_events() == []


def test_no_journal_has_no_events(tmp_path):
    assert read_journal(tmp_path) == []


def test_a_reader_starts_over_when_the_journal_is_opened_again(open_journal, tmp_path):
    journal, reader = open_journal(tmp_path), JournalReader(tmp_path)
    journal.append(event_line("start", number=1))
    mark = journal.sync()
    journal.append(event_line("steps"))
    assert len(reader.new_events()) == 2
    again = open_journal(tmp_path, mark)
    again.append(event_line("steps", much="x" * 500))  # longer than before: the size alone shows nothing
    assert [event["event"] for event in reader.new_events()] == ["start", "steps"]
    assert reader.new_events() == []


def test_a_reader_starts_over_when_the_file_shrinks(open_journal, tmp_path, file):
    journal, reader = open_journal(tmp_path), JournalReader(tmp_path)
    journal.append(event_line("start") + event_line("steps"))
    assert len(reader.new_events()) == 2
    with file.open("r+b") as opened:
        opened.truncate(0)
        opened.write(b'{"event": "start"}\n')
    assert reader.new_events() == [{"event": "start"}]


def test_a_reader_from_the_next_start_leaves_out_what_another_process_wrote(open_journal, tmp_path):
    before = open_journal(tmp_path)
    before.append(event_line("epoch", epoch=1))
    mark = before.sync()
    before.append(event_line("end"))
    reader = JournalReader(tmp_path, from_next_start=True)
    assert reader.new_events() == []
    open_journal(tmp_path, mark).append(event_line("epoch", epoch=2))
    assert [event["epoch"] for event in reader.new_events()] == [1, 2]


def test_not_a_number_is_never_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        event_line("epoch", train_loss=math.nan)
    assert json.loads(event_line("epoch", train_loss=1.5))["train_loss"] == 1.5


def test_the_losses_come_by_the_number_of_their_update():
    told = [(0, [0.5, 1 / 3]), (2, [0.1])]
    steps = [
        {"event": "steps", "first_step": first, "losses": [loss.hex() for loss in all_]} for first, all_ in told
    ]
    events = [{"event": "start"}, steps[0], {"event": "epoch"}, steps[1]]
    assert step_losses(events) == [(0, 0.5), (1, 1 / 3), (2, 0.1)]


@pytest.mark.parametrize(
    ("kinds", "final"),
    [
        ("", 0),
        ("start steps", 0),
        ("start steps checkpoint", 3),
        ("start steps checkpoint steps steps", 3),
        ("start steps checkpoint steps epoch resumed", 5),
        ("start resumed steps epoch steps checkpoint steps epoch end", 9),
    ],
)
def test_what_stands_before_a_checkpoint_an_epoch_or_the_end_is_final(kinds, final):
    events = [{"event": kind} for kind in kinds.split()]
    assert final_events(events) == events[:final]
