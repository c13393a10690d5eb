"""Paths that lead out: nothing beyond a folder is read or written, whatever a name or a link says."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import downloads
from PIL import Image
from reporting import Finding, Tally

from rnnpipe.config import PipelineConfig
from rnnpipe.config.data import DataConfig
from rnnpipe.data.archives import extract_member
from rnnpipe.data.decoding import decode_image
from rnnpipe.data.folder import folder_digest
from rnnpipe.data.mirrors import fetch_files
from rnnpipe.errors import DataError, RnnpipeError

PROMISE = "nothing is read or written outside its place"
ODD_NAMES = ("../x", "/etc/passwd", "a/b", "a\\b", "..", ".", ".x", "a\0b", "a\n", "~", "A", "a b", "x" * 64, "")
ODD_FOLDERS = ("", " ", "a\0b", "\ud800")
NOT_HTTP = (
    "file:///etc",
    "file://localhost/etc",
    "FILE:/etc",
    "ftp://a",
    "/etc",
    "../x",
    "//a/b",
    "data:,x",
    "http:/etc",
    "http://",
    "http:///etc/passwd",
    "javascript:x",
    "http://a\0b",
    "http://a/ b",
)
NOT_STORAGE = (*NOT_HTTP, "sqlite://", "postgresql://a", "sqlite:///a\0b", "databricks", "mlruns")


def is_refused(values: dict[str, object]) -> bool:
    try:
        PipelineConfig.model_validate({"variants": [{"name": "gru"}], **values})
    except ValueError:
        return True
    return False


def names_in_configs() -> Finding:
    tally = Tally("path: names and addresses in a config", PROMISE)
    cases: list[dict[str, object]] = [{"name": name} for name in ODD_NAMES]
    cases += [{"tracking": {"experiment": name}} for name in ODD_NAMES]
    cases += [{"registry": {"model_name": name}} for name in ODD_NAMES]
    cases += [{"data": {"name": "folder", "folder": name}} for name in ODD_FOLDERS]
    cases += [{"data": {"name": name}} for name in ODD_NAMES]
    cases += [{"data": {"name": "mnist", "mirrors": [address]}} for address in NOT_HTTP]
    cases += [{"tracking": {"uri": address}} for address in NOT_STORAGE]
    for case in cases:
        tally.add(*([] if is_refused(case) else [f"{case!r} is valid"]))
    return tally.finding()


def outside(root: Path) -> Path:
    """Return a picture beside the folder of images."""
    path = root.parent / "secret.png"
    Image.new("L", (4, 4), 77).save(path)
    return path


def link_class_out(root: Path) -> None:
    folder = root.parent / "class"
    folder.mkdir()
    Image.new("L", (4, 4)).save(folder / "0.png")
    (root / "c").symlink_to(folder)


def hard_way_out(root: Path) -> None:
    (root / "a" / "step.png").symlink_to(outside(root))
    (root / "a" / "x.png").symlink_to("step.png")


TRICKS: dict[str, Callable[[Path], object]] = {
    "link to a file outside": lambda root: (root / "a/x.png").symlink_to(outside(root)),
    "relative link outside": lambda root: (root / "a/x.png").symlink_to(f"../../{outside(root).name}"),
    "link to a link outside": hard_way_out,
    "link to a class outside": link_class_out,
    "link in a circle": lambda root: (root / "a/x.png").symlink_to("x.png"),
    "class that is a link in a circle": lambda root: [(root / "b/0.png").unlink(), (root / "b").rmdir(),
                                                      (root / "b").symlink_to("b")],
    "dangling link": lambda root: (root / "a/x.png").symlink_to("nowhere.png"),
    "link to a device": lambda root: (root / "a/x.png").symlink_to("/dev/zero"),
    "pipe": lambda root: os.mkfifo(root / "a/x.png"),
    "folder called like an image": lambda root: (root / "a/x.png").mkdir(),
    "link to the root": lambda root: (root / "c").symlink_to("/"),
    "link to the folder above": lambda root: (root / "c").symlink_to(".."),
    "name that is no UTF-8": lambda root: (root / "a/0.png").rename(root / os.fsdecode(b"a/\xff.png")),
}  # fmt: skip


def links_in_images() -> Finding:
    """Let a folder of images lead out of itself: it is refused, and what is outside stays unread."""
    tally = Tally("path: links in a folder of images", PROMISE)
    for name, trick in TRICKS.items():
        with tempfile.TemporaryDirectory() as home:
            root = Path(home) / "images"
            for folder in ("a", "b"):
                (root / folder).mkdir(parents=True)
                Image.new("L", (4, 4)).save(root / folder / "0.png")
            trick(root)
            try:
                folder_digest(DataConfig(name="folder", folder=str(root)))
                tally.add(f"{name} is taken")
            except DataError:
                tally.add()
            except Exception as error:
                tally.add(f"{name}: {type(error).__name__}: {error}")
    return tally.finding()


def odd_image_folders() -> Finding:
    tally = Tally("path: where no folder of images is", "refused in words")
    with tempfile.TemporaryDirectory() as home:
        circle, file = Path(home) / "circle", Path(home) / "file"
        circle.symlink_to("circle")
        file.touch()
        for folder in (
            "~nobody-here/x",
            str(circle),
            str(file),
            f"{file}/x",
            "/dev/null",
            "x" * 5000,
            "/".join("x" * 3000),
        ):
            try:
                folder_digest(DataConfig(name="folder", folder=folder))
                tally.add(f"{folder[:60]} is taken")
            except RnnpipeError:
                tally.add()
            except Exception as error:
                tally.add(f"{folder[:60]}: {type(error).__name__}: {error}")
        for path in (circle, file.parent, Path("/dev/zero"), Path("/dev/null")):
            try:
                decode_image(path, (8, 8))
                tally.add(f"{path} is an image")
            except DataError:
                tally.add()
    return tally.finding()


def written_files() -> Finding:
    """Let archives and links name a file outside: it stays as it is."""
    tally = Tally("path: archives and downloads", PROMISE)
    for member in ("../../secret", "/secret", "a/../../../secret", "secret"):
        with tempfile.TemporaryDirectory() as home:
            secret, folder = Path(home) / "secret", Path(home) / "a" / "b"
            secret.write_bytes(b"keep")
            folder.mkdir(parents=True)
            with zipfile.ZipFile(folder / "zip", "w") as archive:
                archive.writestr(member, b"evil")
            extract_member(folder / "zip", "secret", folder / "out")
            tally.add(*([] if secret.read_bytes() == b"keep" else [f"the member {member} was written outside"]))
    with downloads.mirror() as address, tempfile.TemporaryDirectory() as home:
        secret, folder = Path(home) / "secret", Path(home) / "downloads"
        secret.write_bytes(b"keep")
        folder.mkdir()
        (folder / "train_images").symlink_to(secret)
        fetch_files(downloads.spec_of("sha256"), [f"{address}/good/none"], folder, limits=downloads.LIMITS)
        kept = secret.read_bytes() == b"keep" and not (folder / "train_images").is_symlink()
        digest = hashlib.sha256((folder / "train_images").read_bytes()).hexdigest()
        right = digest == downloads.spec_of("sha256").files[0].sha256
        tally.add(*([] if kept and right else ["a download went through a link"]))
    return tally.finding()


def run() -> list[Finding]:
    """Try every trick once."""
    return [names_in_configs(), links_in_images(), odd_image_folders(), written_files()]
