"""Where machines without a shared disk leave files for each other: any place that fsspec reaches.

    PLACE/trainings/KEY/work-ID/    of an attempt at a training: its newest checkpoint, and the journal up to it
    PLACE/trainings/KEY/output/     of a training that has ended
    PLACE/sequences/KEY/            of images that nobody else could get

In each folder the files are called by their SHA-256; listing.json, written last, says which belong to it. So who
fetches knows that they are whole, and that they are what was left.
"""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import ConfigError, DataError, StorageError
from rnnpipe.files import (
    atomic_path,
    digest_of,
    is_inside,
    read_json,
    scratch_folder,
    sha256_file,
    write_json,
)
from rnnpipe.references import Reference

LISTING = "listing.json"
SEAL = "seal"
WHERE = "in execution.ray.exchange or RNNPIPE_EXCHANGE"
Result = TypeVar("Result")


class Listing(Reference):
    """What was left in a folder: the SHA-256 of each file by its name, and facts about them."""

    files: dict[str, str]
    facts: dict[str, Any]


class Place(Protocol):
    """Files by names with slashes, somewhere; FileNotFoundError where one isn't there."""

    def put(self, path: Path, name: str) -> None:
        """Leave a file there, whole or not at all."""

    def get(self, name: str, path: Path) -> None:
        """Copy a file from there to `path`."""

    def names(self, folder: str) -> list[str]:
        """Return the last parts of the names below a folder; none where it isn't there."""

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; do nothing where it isn't there."""


class FilePlace:
    """A place that fsspec reaches: a path, file://, s3://, gs:// and so on."""

    def __init__(self, url: str) -> None:
        """Open it; ConfigError where the package that it takes isn't installed."""
        try:
            import fsspec  # comes with torch

            self._files, self._root = fsspec.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"the exchange {mask_credentials(url)} can't be used: {mask_credentials(str(error))}",
                f"install the fsspec package for it on every machine, or name another place {WHERE}",
            ) from None

    def put(self, path: Path, name: str) -> None:
        """Leave a file there, whole or not at all."""
        target = self._path(name)
        parent, _, last = target.rpartition("/")
        temporary = f"{parent}/.{last}.{uuid4().hex}.tmp"
        self._files.makedirs(parent, exist_ok=True)
        self._files.put_file(str(path), temporary)
        self._files.mv(temporary, target)

    def get(self, name: str, path: Path) -> None:
        """Copy a file from there to `path`."""
        self._files.get_file(self._path(name), str(path))

    def names(self, folder: str) -> list[str]:
        """Return the last parts of the names below a folder; none where it isn't there."""
        try:
            return [
                path.rstrip("/").rpartition("/")[2] for path in self._files.ls(self._path(folder), detail=False)
            ]
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; do nothing where it isn't there."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class Exchange:
    """Leaves folders of files in a place, and fetches them, each file checked by its SHA-256."""

    def __init__(self, place: Place, url: str) -> None:
        self._place, self.url = place, url

    def put(self, folder: str, source: Path, names: Iterable[str], facts: dict[str, Any]) -> Listing:
        """Leave files of `source`; what is there already isn't sent again. StorageError where that fails.

        Two generations of files stay, so that nobody who is fetching the last one loses it.
        """
        earlier = self.find(folder)
        listing = Listing(files={name: sha256_file(source / name) for name in names}, facts=facts)
        present = set(self._told(lambda: self._place.names(folder)))
        for name, digest in listing.files.items():
            if digest not in present:
                self._told(partial(self._place.put, source / name, f"{folder}/{digest}"))
                present.add(digest)
        content = listing.model_dump(mode="json")
        with scratch_folder() as scratch:
            write_json(scratch / LISTING, {**content, SEAL: digest_of(content)})
            self._told(lambda: self._place.put(scratch / LISTING, f"{folder}/{LISTING}"))
        wanted = {LISTING, *listing.files.values(), *(earlier.files.values() if earlier else ())}
        for left in present - wanted:
            self._told(partial(self._place.remove, f"{folder}/{left}"))
        return listing

    def find(self, folder: str) -> Listing | None:
        """Return what was left in a folder; None where nothing was, or where the listing isn't whole."""
        with scratch_folder() as scratch:
            try:
                self._told(lambda: self._place.get(f"{folder}/{LISTING}", scratch / LISTING))
                values = read_json(scratch / LISTING)
                seal = values.pop(SEAL)
                listing = Listing.model_validate(values)
            except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
                return None
        return listing if seal == digest_of(values) and all(map(is_inside, listing.files)) else None

    def fetch(self, folder: str, listing: Listing, target: Path, names: Iterable[str] | None = None) -> None:
        """Bring the files of a listing (or those of them) to `target`, except those that are there already.

        DataError where one isn't there any more, or is another one.
        """
        for name in listing.files if names is None else names:
            path, digest = target / name, listing.files[name]
            if path.is_file() and sha256_file(path) == digest:
                continue
            with atomic_path(path) as temporary:
                try:
                    self._told(partial(self._place.get, f"{folder}/{digest}", temporary))
                except FileNotFoundError:
                    raise DataError(
                        f"{self._shown(folder)}: {name} isn't there any more", "run it again"
                    ) from None
                if sha256_file(temporary) != digest:
                    raise DataError(
                        f"{self._shown(folder)}: {name} isn't the file that was left there",
                        f"remove {self._shown(folder)}, and run it again",
                    )

    def folders(self, folder: str) -> list[str]:
        """Return the names of what lies below a folder."""
        return self._told(lambda: self._place.names(folder))

    def remove(self, folder: str) -> None:
        """Remove a folder with all in it: its listing first, as without one nothing is found there."""
        self._told(lambda: self._place.remove(f"{folder}/{LISTING}"))
        self._told(lambda: self._place.remove(folder))

    def _shown(self, folder: str) -> str:
        return f"{mask_credentials(self.url).rstrip('/')}/{folder}"

    def _told(self, action: Callable[[], Result]) -> Result:
        """Do something with the place; StorageError says what it raises, whatever library is behind it."""
        try:
            return action()
        except FileNotFoundError:
            raise
        except Exception as error:
            reason = mask_credentials(str(error)) or type(error).__name__
            raise StorageError(
                f"the exchange {mask_credentials(self.url)} fails: {reason}",
                f"see that every machine reaches it and may write there, or name another place {WHERE}",
            ) from error
