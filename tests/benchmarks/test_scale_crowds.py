"""Many clients at once: what counts as an answer, and that a backlog is never measured with the next case."""

import time
from typing import Any

import httpx
import pytest

from benchmarks.scaling import crowd
from benchmarks.scaling.backlog import BACKLOG, PERHAPS, is_clear, note_on, with_backlogs
from benchmarks.scaling.tables import crowds_table


class Clock:
    """Stands for the module `time`: it passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Server:
    """Answers with these statuses one after another, then with 200; the first ones take a while."""

    def __init__(self, clock: Clock, statuses: tuple[int, ...] = (), slow: int = 0) -> None:
        self.clock, self.statuses, self.slow, self.asked = clock, list(statuses), slow, 0

    def ask(self, client: httpx.Client, number: int) -> httpx.Response:
        self.asked += 1
        self.clock.sleep(5.0 if self.asked <= self.slow else 0.01)
        return httpx.Response(self.statuses.pop(0) if self.statuses else 200)


def row(clients: int = 1, errors: int = 0, backend: str = "Postgres: 1 worker", **more: Any) -> dict[str, Any]:
    figures = {"per_s": 2.0, "median_ms": 5.0, "p95_ms": 9.0, "answers": 3, "kinds_of_errors": []}
    named = {"part": "mlflow", "asked": "comparison", "backend": backend, "clients": clients, "errors": errors}
    return {**figures, **named, **more}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(crowd, "time", clock)
    return clock


def test_only_successes_are_answers() -> None:
    def answer(client: httpx.Client, number: int) -> httpx.Response:
        time.sleep(0.1)  # so that each asks once
        if number == 1:
            raise httpx.ConnectError("gone")
        return httpx.Response(200 if client.base_url.host == "one" else 500)

    got = crowd.ask_together(["http://one", "http://two"], answer, 4, 0.01)
    assert got["clients"] == 4 and got["answers"] == 2 and got["errors"] == 2
    assert got["kinds_of_errors"] == ["500", "ConnectError"]
    assert 0 < got["per_s"] <= 2 / 0.1


def test_a_crowd_that_is_refused_got_no_answer() -> None:
    got = crowd.ask_together(["http://one"], lambda client, number: httpx.Response(503), 2, 0.01)
    assert got["answers"] == got["per_s"] == 0 and got["errors"] >= 2
    assert "| 0.0 | - | - |" in crowds_table(with_backlogs([{**row(quiet_after_s=1.0), **got}]))


@pytest.mark.parametrize(("statuses", "slow", "before"), [((), 0, 0), ((503, 503, 200, 503), 0, 4), ((), 2, 2)])
def test_a_server_is_quick_once_it_is_again_and_again(
    clock: Clock, statuses: tuple[int, ...], slow: int, before: int
) -> None:
    server = Server(clock, statuses, slow)
    assert crowd.wait_until_quick(["http://one"], server.ask, 1.0) == pytest.approx(clock.now_s)
    assert server.asked == before + crowd.QUICK_TIMES


def test_a_server_that_stays_slow_is_waited_for_in_vain(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "QUIET_LIMIT_S", 20.0)
    server = Server(clock, slow=1000)
    assert crowd.wait_until_quick(["http://one"], server.ask, 1.0) is None
    assert 20 < clock.now_s < 30


def test_what_is_usual_is_measured_of_each_server(clock: Clock) -> None:
    server = Server(clock, (503,), slow=2)
    assert crowd.usual_wait_s(["http://one", "http://two"], server.ask) == pytest.approx(0.01)
    assert server.asked == 2 * crowd.QUICK_TIMES


def test_after_each_case_the_servers_are_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    done = list[str]()

    def together(addresses: list[str], request: Any, clients: int, seconds: float) -> dict[str, Any]:
        done.append(f"{clients} ask")
        return {"clients": clients}

    def wait(addresses: list[str], request: Any, usual_s: float) -> float | None:
        done.append("wait")
        return None if done.count("wait") == 2 else 1.5

    monkeypatch.setattr(crowd, "ask_together", together)
    monkeypatch.setattr(crowd, "wait_until_quick", wait)
    asked = {"a": Server(clock).ask, "b": Server(clock).ask}
    rows = list(crowd.crowd_rows(["http://one"], asked, (1, 100), 8.0, part="mlflow"))
    assert done == ["1 ask", "wait", "100 ask", "wait", "1 ask", "wait", "100 ask", "wait"]
    assert [each["asked"] for each in rows] == ["a", "a", "b", "b"] and rows[0]["part"] == "mlflow"
    assert [each["quiet_after_s"] for each in rows] == [1.5, None, 1.5, 1.5]


def test_a_row_after_errors_is_of_a_server_with_a_backlog() -> None:
    others = "Postgres: 2 workers"
    rows = with_backlogs([row(1), row(100, 38), row(1), row(10), row(100, 91), row(1, backend=others), row(1)])
    assert [each["backlog"] for each in rows] == ["", "", BACKLOG, PERHAPS, PERHAPS, "", BACKLOG]
    assert [is_clear(each) for each in rows] == [True, False, False, False, False, True, False]
    assert f"| 2.0 ({BACKLOG}) |" in crowds_table(rows) and f"| 2.0 ({PERHAPS}) |" in crowds_table(rows)
    note = note_on(rows)
    assert '"Backlog"' in note and '"At most"' not in note and "Only successful" not in note


def test_where_it_was_waited_only_a_server_that_stayed_slow_has_a_backlog() -> None:
    waits_s = {100: 70.0, 1: None, 10: 1.0}
    rows = with_backlogs([row(clients, 38, quiet_after_s=wait_s) for clients, wait_s in waits_s.items()])
    assert [each["backlog"] for each in rows] == ["", "", BACKLOG]
    note = note_on(rows[:2])
    assert note.startswith("Only successful answers are counted") and "Backlog" not in note


def test_refusals_that_were_counted_as_answers_are_told() -> None:
    refused, slow = row(errors=2, kinds_of_errors=["400", "ReadTimeout"]), row(kinds_of_errors=["ReadTimeout"])
    rows = with_backlogs([refused, slow])
    assert [each["has_refusals"] for each in rows] == [True, False]
    assert "| at most 2.0 |" in crowds_table(rows) and '"At most"' in note_on(rows)
    assert not with_backlogs([row(kinds_of_errors=["400"], quiet_after_s=1.0)])[0]["has_refusals"]
