"""A downloaded dataset's files: kept unpacked and verified, fetched from the first mirror that has them right."""

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rnnpipe.catalogue import DatasetSpec, SourceFile
from rnnpipe.config.data import DataConfig
from rnnpipe.credentials import mask_credentials
from rnnpipe.data.archives import extract_member, gunzip_idx
from rnnpipe.data.download import Limits, SourceError, download
from rnnpipe.errors import DataError, DownloadError
from rnnpipe.files import atomic_path, read_json, scratch_folder, sha256_file, write_json

MIRRORS_VARIABLE = "RNNPIPE_MIRRORS"
MAX_BUNDLE_BYTES = 1 << 30
FIX = (
    f"name a mirror that has the files: --set data.mirrors='[\"URL\"]', or {MIRRORS_VARIABLE}=URL for this machine"
)

logger = logging.getLogger(__name__)


def mirror_urls(config: DataConfig, official: Sequence[str]) -> tuple[str, ...]:
    """Return the base URLs to try, in order: the config's, RNNPIPE_MIRRORS' (comma or space), the dataset's."""
    from_environment = re.split(r"[,\s]+", os.environ.get(MIRRORS_VARIABLE, ""))
    return tuple(dict.fromkeys(filter(None, [*config.mirrors, *from_environment, *official])))


def unpacked_path(folder: Path, file: SourceFile) -> Path:
    """Return where a file is kept, unpacked."""
    return folder / file.name.removesuffix(".gz")


def fetch_files(
    spec: DatasetSpec,
    mirrors: Sequence[str],
    folder: Path,
    *,
    bundle_url: str = "",
    limits: Limits | None = None,
) -> dict[str, Path]:
    """Return the verified, unpacked files by role; downloads those that `folder` doesn't hold.

    `bundle_url` is a zip file of them all, asked last. DownloadError lists each source and what was wrong with it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder) as scratch:
            search = _Search(folder, scratch, limits or Limits())
            found = all(search.on_mirrors(file, mirrors) for file in spec.files)
            if not found and bundle_url:
                found = search.in_bundle(spec.files, bundle_url)
    except OSError as error:
        raise DataError(f"{folder}: can't be written: {error.strerror or error}", "make room there") from None
    if not found:
        raise DownloadError("\n  ".join([f"{folder.name}: no source has its files", *search.faults]), FIX)
    return {file.role: unpacked_path(folder, file) for file in spec.files}


@dataclass(frozen=True)
class _Search:
    """The way through the sources, with what was wrong on it."""

    folder: Path
    scratch: Path
    limits: Limits
    faults: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def on_mirrors(self, file: SourceFile, mirrors: Sequence[str]) -> bool:
        """Tell whether the file is there now: already, or from the first mirror that has it right."""
        # A mirror that hung or was wrong once is asked last from then on.
        ordered = sorted(mirrors, key=self.failed.count)
        return _is_verified(self.folder, file) or any(self._on_mirror(file, mirror) for mirror in ordered)

    def in_bundle(self, files: Sequence[SourceFile], url: str) -> bool:
        """Tell whether the files are there now, the missing ones from one zip file."""

        def attempt() -> None:
            bundle, archive = self.scratch / "bundle", self.scratch / "archive"
            download(url, bundle, replace(self.limits, max_bytes=MAX_BUNDLE_BYTES))
            for file in files:
                if not _is_verified(self.folder, file):
                    extract_member(bundle, file.name, archive)
                    _unpack(archive, file, self.folder)

        return self._try(url, attempt)

    def _on_mirror(self, file: SourceFile, mirror: str) -> bool:
        url, archive = f"{mirror.rstrip('/')}/{file.name}", self.scratch / "archive"

        def attempt() -> None:
            download(url, archive, self.limits)
            _unpack(archive, file, self.folder)

        if self._try(url, attempt):
            return True
        self.failed.append(mirror)
        return False

    def _try(self, url: str, attempt: Callable[[], None]) -> bool:
        shown = mask_credentials(url)
        logger.info("downloading %s", shown)
        try:
            attempt()
        except SourceError as error:
            logger.warning("%s: %s", shown, error)
            self.faults.append(f"{shown}: {error}")
            return False
        return True


def _unpack(archive: Path, file: SourceFile, folder: Path) -> None:
    """Put an archive's content in its place, or raise SourceError where it isn't what the catalogue says."""
    path = unpacked_path(folder, file)
    if not file.sha256:
        _compare(sha256_file(archive), file.archive_sha256, "the archive")
    with atomic_path(path) as temporary:
        digest = gunzip_idx(archive, temporary)
        if file.sha256:
            _compare(digest, file.sha256, "the content")
        else:
            write_json(_record(path), {"archive_sha256": file.archive_sha256, "sha256": digest})


def _compare(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise SourceError(f"SHA-256 of {what} is {found[:12]}…, not {expected[:12]}…")


def _is_verified(folder: Path, file: SourceFile) -> bool:
    path = unpacked_path(folder, file)
    return path.is_file() and sha256_file(path) == (file.sha256 or _recorded_digest(path, file))


def _record(path: Path) -> Path:
    """Where the content's digest is kept for files of which only the archive's is published."""
    return path.with_name(f"{path.name}.json")


def _recorded_digest(path: Path, file: SourceFile) -> str | None:
    try:
        record = read_json(_record(path))
        return str(record["sha256"]) if record["archive_sha256"] == file.archive_sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
