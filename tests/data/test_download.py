"""Every way in which a mirror can be wrong ends in the next mirror, and in words when there is none left."""

import asyncio
import gzip
import logging
import time
from dataclasses import replace
from functools import cache

import httpx
import pytest

from rnnpipe.config.data import DataConfig
from rnnpipe.credentials import mask_credentials
from rnnpipe.data import archives
from rnnpipe.data.download import download
from rnnpipe.data.mirrors import fetch_files, mirror_urls
from rnnpipe.errors import DataError

IMAGES = "train_images-idx3-ubyte.gz"


def flip_a_byte(content):
    decoded = bytearray(gzip.decompress(content))
    decoded[-1] ^= 1
    return gzip.compress(bytes(decoded))


def drip(handler, content):
    """Send a byte now and then, for far longer than any test waits."""
    handler.send_response(200)
    handler.end_headers()
    for byte in content:
        handler.wfile.write(bytes((byte,)))
        time.sleep(0.05)


def drip_headers(handler, content):
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000:
        handler.wfile.write(bytes((byte,)))
        time.sleep(0.05)


@cache
def bomb(header_says):
    """Return gzip of 64 MiB of zeros behind an IDX header that states less, or far more."""
    header = bytes((0, 0, 8, 1)) + header_says.to_bytes(4, "big")
    return gzip.compress(header + bytes(64 << 20), compresslevel=1)


HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
FAULTS = {
    "truncated gzip": (lambda h, c: h.reply(c[:-20]), "truncated gzip"),
    "flipped content byte": (lambda h, c: h.reply(flip_a_byte(c)), "SHA-256 of the content"),
    "flipped archive byte": (lambda h, c: h.reply(c[:40] + bytes((c[40] ^ 1,)) + c[41:]), "gzip file"),
    "trailing garbage": (lambda h, c: h.reply(c + b"garbage"), "gzip file"),
    "HTML with 200": (lambda h, c: h.reply(HTML), "an HTML page"),
    "not gzip": (lambda h, c: h.reply(b"hello there"), "not a gzip file"),
    "empty": (lambda h, c: h.reply(b""), "not an IDX file"),
    "gzip of something else": (lambda h, c: h.reply(gzip.compress(b"hello there")), "not an IDX file"),
    "403": (lambda h, c: h.reply(b"", status=403), "HTTP 403 Forbidden"),
    "404": (lambda h, c: h.reply(b"", status=404), "HTTP 404 Not Found"),
    "always 503": (lambda h, c: h.reply(b"", status=503), "HTTP 503"),
    "length too long": (lambda h, c: h.reply(c, length=len(c) + 9), "RemoteProtocolError"),
    "length too short": (lambda h, c: h.reply(c, length=len(c) - 9), "truncated gzip"),
    "redirect to a file": (lambda h, c: h.reply(b"", status=302, Location="file:///etc/hosts"), "protocol"),
    "redirect to ftp": (lambda h, c: h.reply(b"", status=302, Location="ftp://127.0.0.1/x"), "protocol"),
    "redirect loop": (lambda h, c: h.reply(b"", status=302, Location=h.path), "TooManyRedirects"),
    "slow drip": (drip, "too slow"),
    "slow headers": (drip_headers, "too slow"),
    "bomb, small header": (lambda h, c: h.reply(bomb(10)), "its header states 18"),
    "bomb, large header": (lambda h, c: h.reply(bomb(2**32 - 1)), "more than any dataset"),
    "too large": (lambda h, c: h.reply(bytes(20_000)), "more than 10,000 bytes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_mirror_is_never_used_and_the_next_one_is(fault, make_idx, start_mirror, quick_limits, tmp_path):
    dataset = make_idx()
    answer, words = FAULTS[fault]
    bad, good = start_mirror(dataset.served, answer), start_mirror(dataset.served)
    begin_s = time.monotonic()
    limits = quick_limits
    if fault == "too large":
        limits = replace(limits, max_bytes=10_000)
    elif fault.startswith("slow"):
        limits = replace(limits, patience_s=2)

    with pytest.raises(DataError) as caught:
        fetch_files(dataset.spec, [bad.url], tmp_path, limits=limits)
    assert f"{bad.url}/{IMAGES}: " in str(caught.value)
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []

    paths = fetch_files(dataset.spec, [bad.url, good.url], tmp_path, limits=limits)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths.values())
    assert time.monotonic() - begin_s < 60


def test_files_are_kept_and_not_asked_for_again(make_idx, start_mirror, tmp_path, quick_limits):
    dataset = make_idx()
    mirror = start_mirror(dataset.served)
    paths = fetch_files(dataset.spec, [mirror.url + "/"], tmp_path, limits=quick_limits)
    assert paths["train_images"].read_bytes() == gzip.decompress(dataset.served[IMAGES])
    assert sorted(mirror.asked) == sorted(dataset.served)

    fetch_files(dataset.spec, [], tmp_path)
    paths["test_labels"].write_bytes(b"damaged")
    fetch_files(dataset.spec, [mirror.url], tmp_path, limits=quick_limits)
    assert mirror.asked[4:] == ["test_labels-idx1-ubyte.gz"]


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_mirror_is_asked_again(status, make_idx, start_mirror, tmp_path, quick_limits):
    dataset = make_idx()

    def busy_once(handler, content):
        first = mirror.asked.count(handler.path.rpartition("/")[2]) == 1
        handler.reply(b"" if first else content, status=status if first else 200)

    mirror = start_mirror(dataset.served, busy_once)
    fetch_files(dataset.spec, [mirror.url], tmp_path, limits=quick_limits)
    assert len(mirror.asked) == 8


def test_a_mirror_that_refuses_is_asked_once_while_there_are_others(
    make_idx, start_mirror, tmp_path, quick_limits
):
    dataset = make_idx()
    refusing, good = start_mirror({}), start_mirror(dataset.served)
    fetch_files(dataset.spec, [refusing.url, good.url], tmp_path, limits=quick_limits)
    assert refusing.asked == [IMAGES]


def test_a_redirect_to_another_server_is_followed(make_idx, start_mirror, tmp_path, quick_limits):
    dataset = make_idx()
    good = start_mirror(dataset.served)

    def redirect(handler, content):
        handler.reply(b"", status=302, Location=f"{good.url}/{handler.path.rpartition('/')[2]}")

    fetch_files(dataset.spec, [start_mirror({}, redirect).url], tmp_path, limits=quick_limits)
    assert len(good.asked) == 4


def test_the_error_lists_every_mirror_and_the_fix(make_idx, start_mirror, tmp_path, quick_limits):
    dataset = make_idx()
    missing, web = start_mirror({}), start_mirror({}, lambda h, c: h.reply(HTML))
    closed = "http://127.0.0.1:9"
    with pytest.raises(DataError) as caught:
        fetch_files(dataset.spec, [missing.url, web.url, closed, "nonsense"], tmp_path, limits=quick_limits)
    lines = str(caught.value).splitlines()
    assert lines[1] == f"  {missing.url}/{IMAGES}: HTTP 404 Not Found"
    assert lines[2].startswith(f"  {web.url}/{IMAGES}: an HTML page")
    assert lines[3].startswith(f"  {closed}/{IMAGES}: ConnectError")
    assert lines[4].startswith(f"  nonsense/{IMAGES}: UnsupportedProtocol")
    assert """--set data.mirrors='["URL"]'""" in lines[5]
    assert "RNNPIPE_MIRRORS" in lines[5]


def test_passwords_are_sent_but_never_shown(make_idx, start_mirror, tmp_path, caplog, quick_limits):
    dataset = make_idx()
    seen = []

    def note(handler, content):
        seen.append(handler.headers["Authorization"])
        handler.reply(b"", status=403)

    mirror = start_mirror(dataset.served, note)
    url = mirror.url.replace("//", "//user:secret@")
    urls = [url, "http://user:secret/part@host", "http://user:secret@host:port"]
    with caplog.at_level(logging.DEBUG), pytest.raises(DataError) as caught:
        fetch_files(dataset.spec, urls, tmp_path, limits=quick_limits)
    assert httpx.BasicAuth("user", "secret")._auth_header == seen[0]
    assert "http://***@127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "secret" not in caplog.text
    assert mask_credentials("https://user@host/x") == "https://***@host/x"


def test_mirrors_are_tried_in_order(monkeypatch):
    monkeypatch.setenv("RNNPIPE_MIRRORS", "http://b, http://c http://a")
    config = DataConfig(name="mnist", mirrors=("http://a",))
    assert mirror_urls(config, ["http://d"]) == ("http://a", "http://b", "http://c", "http://d")
    monkeypatch.delenv("RNNPIPE_MIRRORS")
    assert mirror_urls(config, []) == ("http://a",)


def test_a_folder_that_cannot_be_written_is_not_the_mirrors_fault(make_idx, tmp_path):
    tmp_path.joinpath("file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        fetch_files(make_idx().spec, ["http://127.0.0.1:9"], tmp_path / "file" / "folder")


def test_a_download_works_below_a_running_event_loop(start_mirror, tmp_path, quick_limits):
    mirror = start_mirror({"x": b"content"})

    async def caller():
        download(f"{mirror.url}/x", tmp_path / "x", quick_limits)

    asyncio.run(caller())
    assert (tmp_path / "x").read_bytes() == b"content"


def test_an_archive_digest_stands_for_a_content_digest(make_idx, start_mirror, tmp_path, quick_limits):
    dataset = make_idx(digest="archive_sha256")
    mirror = start_mirror(dataset.served)
    paths = fetch_files(dataset.spec, [mirror.url], tmp_path, limits=quick_limits)
    fetch_files(dataset.spec, [], tmp_path)
    content = paths["train_labels"].read_bytes()
    paths["train_labels"].write_bytes(content[:-1] + b"\x07")
    fetch_files(dataset.spec, [mirror.url], tmp_path, limits=quick_limits)
    assert paths["train_labels"].read_bytes() == content

    other = start_mirror({name: gzip.compress(gzip.decompress(c), 1) for name, c in dataset.served.items()})
    with pytest.raises(DataError, match="SHA-256 of the archive"):
        fetch_files(dataset.spec, [other.url], tmp_path / "new", limits=quick_limits)


def test_unpacking_keeps_memory_and_disk_within_the_stated_size(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(bomb(10))
    with pytest.raises(archives.SourceError):
        archives.gunzip_idx(tmp_path / "bomb.gz", tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= 2 * archives.CHUNK_BYTES
