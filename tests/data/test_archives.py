"""Members of zip files that aren't unpacked: the reason is told, and nothing else is raised."""

import zipfile
from pathlib import Path

import pytest

from rnnpipe.data.archives import extract_member
from rnnpipe.data.download import SourceError


def archive_in(folder: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "archive.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("inner/member", b"content" * 100)
    return path


def test_a_member_comes_out_of_any_folder(tmp_path: Path) -> None:
    extract_member(archive_in(tmp_path), "member", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"content" * 100


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = archive_in(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag in the directory, as zipfile writes no such files
    path.write_bytes(content)
    with pytest.raises(SourceError, match="member in it is encrypted"):
        extract_member(path, "member", tmp_path / "out")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_refused(tmp_path: Path, compression: int) -> None:
    with pytest.raises(SourceError, match="unusual way"):
        extract_member(archive_in(tmp_path, compression), "member", tmp_path / "out")


def test_a_format_newer_than_what_is_known_is_refused(tmp_path: Path) -> None:
    path = archive_in(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 6] = 99
    path.write_bytes(content)
    with pytest.raises(SourceError, match="zip file version"):
        extract_member(path, "member", tmp_path / "out")


@pytest.mark.parametrize("change", [1, 64, 128, 255])
def test_a_damaged_zip_file_is_refused_in_words_or_read(tmp_path: Path, change: int) -> None:
    path, out = tmp_path / "damaged.zip", tmp_path / "out"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images-é", b"x" * 1000)
    whole, refused = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
        try:
            extract_member(path, "images-é", out)
        except SourceError:
            refused += 1
        else:
            assert out.read_bytes() == b"x" * 1000
    assert refused > len(whole) / 3
