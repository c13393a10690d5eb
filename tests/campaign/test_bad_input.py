"""Bad input of every kind, in its short form: configs, command lines, downloads, files, paths."""

from collections.abc import Sequence

import bad_configs
import command_lines
import downloads
import hostile_files
import path_tricks
import planted_files
import pytest
from reporting import Finding, describe


@pytest.fixture(autouse=True)
def _loopback_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def check(findings: Sequence[Finding], fewest: int) -> None:
    assert sum(each.injections for each in findings) >= fewest
    assert not any(each.failures for each in findings), describe(findings)


def test_configs_are_valid_or_refused_by_key_and_range() -> None:
    check(bad_configs.run(350), 300)


def test_command_lines_end_with_the_right_code() -> None:
    check(command_lines.run(450), 450)


def test_of_a_bad_mirror_nothing_is_kept() -> None:
    check(downloads.run(), 12 * len(downloads.FAULTS))


def test_hostile_files_run_nothing_and_cost_little() -> None:
    check(hostile_files.run(), 3 * 170)


def test_the_canary_of_a_hostile_file_sings() -> None:
    trap = hostile_files.Case("pickle", "trap", hostile_files.pickled("trap", "file", hostile_files.raw_pickle))
    traps = [
        trap,
        *(planted_files.result_case(name, "results trap", each) for name, each in planted_files.RUNNING.items()),
    ]
    ran, _, _ = hostile_files.run(traps)
    assert ran.failures == len(traps)


def test_paths_lead_nowhere_outside() -> None:
    check(path_tricks.run(), 100)
