"""The campaign against the store and the loop, in its short form: one process, from which every run is forked."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from campaign import IN_A_NAME_SPACE
from reporting import Finding, describe

PROGRAM = Path(__file__).with_name("campaign.py")
ROOT = PROGRAM.parents[2]


def run(folder: Path, *parts: str, prefix: tuple[str, ...] = ()) -> list[Finding]:
    report = folder / "report.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RNNPIPE_CAMPAIGN": str(folder)}
    command = [*prefix, sys.executable, str(PROGRAM), "short", str(report), *parts]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [Finding(**each) for each in json.loads(report.read_text(encoding="utf-8"))]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("part", "fewest"), [pytest.param("points", 45, marks=pytest.mark.slow), ("kills", 3)])
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path, part: str, fewest: int) -> None:
    findings = run(tmp_path, part)
    assert not any(each.failures for each in findings), describe(findings)
    assert sum(each.injections for each in findings) >= fewest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_damaged_and_crowded_runs_end_as_undisturbed_ones(tmp_path: Path) -> None:
    findings = run(tmp_path, "damage", "crowds", "answers")
    assert not any(each.failures for each in findings), describe(findings)
    assert len(findings) == 7 and all(each.injections for each in findings)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="needs Linux' name spaces")
def test_a_disk_that_is_full_or_read_only_loses_nothing(tmp_path: Path) -> None:
    if subprocess.run([*IN_A_NAME_SPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine forbids name spaces to users")
    findings = run(tmp_path, "disks", prefix=IN_A_NAME_SPACE)
    assert not any(each.failures for each in findings), describe(findings)
    assert len(findings) == 2
