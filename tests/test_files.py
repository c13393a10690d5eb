"""Files appear whole or not at all, and digests name them."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rnnpipe.files import (
    ALL_FILES,
    atomic_path,
    canonical_json,
    digest_of,
    read_json,
    remove_own_temporaries,
    sha256_file,
    sha256_tree,
    sweep_temporaries,
    write_bytes,
    write_json,
)

KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from rnnpipe.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half of")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_canonical_json_has_one_text_for_equal_values() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of([1, 2]) != digest_of([2, 1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_has_no_digest(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest_of({"rate": value})


def test_digests_are_sha256(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_digest_of_a_folder_covers_names_and_contents(tmp_path: Path) -> None:
    write_bytes(tmp_path / "sub" / "a.py", b"1")
    first = sha256_tree(tmp_path)
    write_bytes(tmp_path / "notes.txt", b"no code")
    assert sha256_tree(tmp_path) == first
    write_bytes(tmp_path / "sub" / "a.py", b"2")
    second = sha256_tree(tmp_path)
    (tmp_path / "sub" / "a.py").rename(tmp_path / "sub" / "b.py")
    assert len({first, second, sha256_tree(tmp_path)}) == 3


def test_what_python_compiles_is_no_part_of_a_folder_s_digest(tmp_path: Path) -> None:
    write_bytes(tmp_path / "sub" / "values.npz", b"1")
    first = sha256_tree(tmp_path, ALL_FILES)
    for name in ("__pycache__/a.cpython-311.pyc", "sub/__pycache__/a.nbi", "a.pyc"):
        write_bytes(tmp_path / name, b"compiled")
    assert sha256_tree(tmp_path, ALL_FILES) == first
    write_bytes(tmp_path / "sub" / "values.npz", b"2")
    assert sha256_tree(tmp_path, ALL_FILES) != first


def test_json_round_trip_leaves_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "value.json"
    write_json(path, {"name": "é", "value": [1, None]})
    assert read_json(path) == {"name": "é", "value": [1, None]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["value.json"]


def test_an_error_in_the_middle_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bytes(path, b"old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half of the new")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_in_the_middle_leaves_the_old_content_and_what_can_be_swept(tmp_path: Path) -> None:
    path = tmp_path / "log" / "model"
    write_bytes(path, b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(os.listdir(path.parent)) == 2  # noqa: PTH208
    sweep_temporaries(tmp_path)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 200_000, "nested too deeply|lists and objects"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b" " * (16 << 20) + b"1", "larger than 16 MiB"),
        (b"[" + b"[]," * 300_000 + b"1]", "more than 200,000 lists and objects"),
        (b"\xff", "utf-8"),
        (b"{", "Expecting"),
        (b"9" * 100_000, "digits"),
    ],
    ids=["unclosed", "nested", "large", "wide", "bytes", "torn", "digits"],
)
def test_json_that_means_harm_is_a_value_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_json(path)


def test_json_of_nearly_16_mib_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"[" + b"1," * 8_388_000 + b"1]")
    assert len(read_json(tmp_path / "x.json")) == 8_388_001


def test_the_file_of_a_zombie_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with subprocess.Popen([sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(path)]) as killed:
        while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        sweep_temporaries(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_what_this_process_left_half_written_goes_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(tmp_path / "others")]) as killed:
        killed.wait()
    (others,) = tmp_path.glob(".others.*")
    (tmp_path / "whole").touch()
    place = tmp_path / "below"
    with pytest.raises(FileNotFoundError), atomic_path(place / "file"):
        assert list(place.iterdir())
        remove_own_temporaries(tmp_path)
        assert not list(place.iterdir())
    assert sorted(tmp_path.iterdir()) == sorted([others, place, tmp_path / "whole"])
