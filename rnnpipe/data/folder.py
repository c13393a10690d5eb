"""Images that the user brings: a folder with one sub-folder a class, of any size and common format."""

import hashlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnpipe.catalogue import DatasetSpec
from rnnpipe.config.data import DataConfig
from rnnpipe.data.decoders import Chunk, decoded
from rnnpipe.data.decoding import Form
from rnnpipe.data.raw import Labels, RawDataset
from rnnpipe.data.splits import Indices
from rnnpipe.errors import DataError
from rnnpipe.files import canonical_json, sha256_file
from rnnpipe.processes.slots import cpu_cores

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)  # fmt: skip
DEFAULT_SIZE = (28, 28)
LAYOUT = "data.folder needs one sub-folder for each class, with the images directly in it"


@dataclass(frozen=True)
class ImageList:
    """The images of a folder, ordered by class and name: `names[k]` are the files in the folder `classes[k]`."""

    root: Path
    classes: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return sum(map(len, self.names))

    @property
    def labels(self) -> Labels:
        """The class number of each image."""
        return np.repeat(np.arange(len(self.classes)), [len(each) for each in self.names])

    @property
    def relative(self) -> list[str]:
        """The path of each image below the root."""
        by_class = zip(self.classes, self.names, strict=True)
        return [f"{folder}/{name}" for folder, names in by_class for name in names]


@dataclass(frozen=True)
class FolderImages:
    """The images of a folder, decoded where they are read: N images of `form`."""

    listed: ImageList
    form: Form
    processes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W), or (N, H, W, 3) in colour."""
        return (len(self.listed), *self.form.shape)

    def chunks(self, chosen: Indices) -> Generator[Chunk, None, None]:
        """Yield the chosen images in order, decoded by several processes; see `decoded`."""
        relative = self.listed.relative
        return decoded([f"{self.listed.root}/{relative[place]}" for place in chosen], self.form, self.processes)


def form_of(config: DataConfig) -> Form:
    """Return what a folder's images are made into."""
    return Form(config.image_size or DEFAULT_SIZE, config.colour or "grey")


def list_images(config: DataConfig) -> ImageList:
    """List the images of `config.folder`; hidden files and other file types are left out.

    DataError names what doesn't fit: no such folder, fewer than two classes, a class without images, folders
    inside a class, links that lead out of the folder.
    """
    assert config.folder is not None
    # pathlib's resolve() and expanduser() raise RuntimeError for links in a circle and unknown users
    root = Path(os.path.realpath(os.path.expanduser(config.folder)))  # noqa: PTH111
    try:
        folders = [entry.name for entry in _visible(root) if entry.is_dir()]
        names = tuple(_class_images(root / folder, root) for folder in folders)
    except OSError as error:
        raise DataError(f"{error.filename}: can't be read: {error.strerror}", LAYOUT) from None
    if len(folders) < 2:
        raise DataError(f"{root}: {len(folders)} sub-folder(s), so there is nothing to tell apart", LAYOUT)
    return ImageList(root, tuple(folders), names)


def folder_digest(config: DataConfig) -> str:
    """Return one SHA-256 (hex) over the names and contents of a folder's images, wherever the folder is."""
    images, digest = list_images(config), hashlib.sha256()
    try:
        for place, name in enumerate(images.relative):  # what digest_of says of the list of pairs, piece by piece
            pair = canonical_json([name, sha256_file(images.root / name)])
            digest.update(f"{',' if place else '['}{pair}".encode())
    except OSError as error:
        raise DataError(f"{error.filename}: can't be read: {error.strerror}", "make it readable") from None
    digest.update(b"]")
    return digest.hexdigest()


def load_folder(
    spec: DatasetSpec, config: DataConfig, downloads: Path, *, processes: int | None = None
) -> RawDataset:
    """Return a folder's images, resized (stretched where the shape differs); they are decoded when they are read.

    `processes` decode, as many as there are cores if nothing else is said.
    """
    images = list_images(config)
    lazy = FolderImages(images, form_of(config), processes or cpu_cores())
    return RawDataset(lazy, images.labels, None, None, images.classes)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted by name, without hidden names."""
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda each: each.name)
    for entry in entries:
        if entry.name != entry.name.encode(errors="replace").decode():
            raise DataError(f"{folder}: the name {os.fsencode(entry.name)!r} is no UTF-8", "rename it")
    return entries


def _class_images(folder: Path, root: Path) -> tuple[str, ...]:
    """Return the names of a class' images."""
    _refuse_outside(folder, root)
    names = []
    for entry in _visible(folder):
        if entry.is_dir():
            raise DataError(f"{entry.path}: a folder inside the class {folder.name}", LAYOUT)
        if os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122 (a Path an image takes long)
            if entry.is_symlink():
                _refuse_outside(Path(entry.path), root)
            elif not entry.is_file():
                raise DataError(f"{entry.path}: neither a file nor a folder", "remove it")
            names.append(entry.name)
    if not names:
        raise DataError(f"{folder}: no images ({' '.join(sorted(SUFFIXES))}) of this class", LAYOUT)
    return tuple(names)


def _refuse_outside(path: Path, root: Path) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise DataError(f"{path}: a link that leads out of {root}", "copy what it leads to into the folder")
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path}: neither a file nor a folder", "remove it")
