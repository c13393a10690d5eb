"""Images that the user brings: a folder with one sub-folder a class, of any size and common format."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from rnnpipe.catalogue import DatasetSpec
from rnnpipe.config.sections import DataConfig
from rnnpipe.data.raw import Pixels, RawDataset
from rnnpipe.errors import DataError
from rnnpipe.files import digest_of, sha256_file

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)  # fmt: skip
DEFAULT_SIZE = (28, 28)
LAYOUT = "data.folder needs one sub-folder for each class, with the images directly in it"
SIXTEEN_BIT_WHITE = 65_535
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow gives others to programs, such as gs
# A hostile image may cost two seconds and 512 MiB.
MAX_FILE_BYTES = 256 << 20
MAX_SIDE = 65_535
MAX_PIXELS = 50_000_000
MAX_WEBP_PIXELS = 24_000_000  # its decoder holds the picture several times
MAX_SLOW_PIXELS = 500_000  # of the few kinds that Pillow decodes in Python
STRIP_PIXELS = 256  # across


@dataclass(frozen=True)
class ImageList:
    """The images of a folder, ordered by class and name; `labels[i]` is the class number of `paths[i]`."""

    root: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]


def image_size_of(config: DataConfig) -> tuple[int, int]:
    """Return the height and width that a folder's images are resized to."""
    return config.image_size or DEFAULT_SIZE


def list_images(config: DataConfig) -> ImageList:
    """List the images of `config.folder`; hidden files and other file types are left out.

    DataError names what doesn't fit: no such folder, fewer than two classes, a class without images, folders
    inside a class, links that lead out of the folder.
    """
    assert config.folder is not None
    # pathlib's resolve() and expanduser() raise RuntimeError for links in a circle and unknown users
    root = Path(os.path.realpath(os.path.expanduser(config.folder)))  # noqa: PTH111
    try:
        folders = [path for path in _visible(root) if path.is_dir()]
        images = [_class_images(folder, root) for folder in folders]
    except OSError as error:
        raise DataError(f"{error.filename}: can't be read: {error.strerror}", LAYOUT) from None
    if len(folders) < 2:
        raise DataError(f"{root}: {len(folders)} sub-folder(s), so there is nothing to tell apart", LAYOUT)
    labels = [label for label, paths in enumerate(images) for _ in paths]
    return ImageList(root, tuple(path.name for path in folders), tuple(chain.from_iterable(images)), tuple(labels))


def folder_digest(config: DataConfig) -> str:
    """Return one SHA-256 (hex) over the names and contents of a folder's images, wherever the folder is."""
    images = list_images(config)
    try:
        files = [(path.relative_to(images.root).as_posix(), sha256_file(path)) for path in images.paths]
    except OSError as error:
        raise DataError(f"{error.filename}: can't be read: {error.strerror}", "make it readable") from None
    return digest_of(files)


def load_folder(spec: DatasetSpec, config: DataConfig, downloads: Path) -> RawDataset:
    """Return a folder's images in grey, resized (stretched where the shape differs), in a memory-mapped file.

    DataError names the first image that can't be decoded.
    """
    images = list_images(config)
    height, width = image_size_of(config)
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=downloads) as file:  # the mapping outlives the file's name
        shape = (len(images.paths), height, width)
        images_NHW = np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
    for row_HW, path in zip(images_NHW, images.paths, strict=True):
        row_HW[:] = decode_image(path, (height, width))
    return RawDataset(images_NHW, np.array(images.labels, dtype=np.int64), None, None, images.classes)


def decode_image(path: Path, image_size: tuple[int, int]) -> Pixels:
    """Return one image as grey pixels (H, W): turned as its EXIF tag says, transparency laid over white.

    Of an animation or a document of several pages, the first. Resized with a Lanczos filter. DataError where it
    can't be decoded or has so many pixels that it may be a decompression bomb.
    """
    height, width = image_size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"no file, or one of more than {MAX_FILE_BYTES >> 20} MiB")
            with Image.open(path, formats=FORMATS) as image:
                _refuse_bomb(image)
                ImageOps.exif_transpose(image, in_place=True)
                grey = _to_grey(image)
        return np.array(grey.resize((width, height), Image.Resampling.LANCZOS))
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise DataError(
            f"{path}: not an image that can be used: {error}", "replace the file, or remove it"
        ) from None


def _refuse_bomb(image: ImageFile.ImageFile) -> None:
    """Raise ValueError for more pixels than an image of this kind may have; nothing is decoded yet."""
    is_slow = any(tile.codec_name in Image.DECODERS for tile in image.tile)
    limit = MAX_SLOW_PIXELS if is_slow else MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS
    if image.width * image.height > limit or max(image.size) > MAX_SIDE:
        raise ValueError(
            f"{image.width} x {image.height} pixels, more than {limit:,} or {MAX_SIDE:,} a side: is it a"
            " decompression bomb?"
        )


def _to_grey(image: Image.Image) -> Image.Image:
    """Return the image in grey, made strip by strip: what is in between takes more memory than the image."""
    (width, height), grey = image.size, Image.new("L", image.size)
    is_wide = width > height
    for start in range(0, max(width, height), STRIP_PIXELS):
        end = start + STRIP_PIXELS
        box = (start, 0, min(end, width), height) if is_wide else (0, start, width, min(end, height))
        grey.paste(_strip_to_grey(image.crop(box)), box)
    return grey


def _strip_to_grey(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # Pillow would clip these at 255
        values = np.asarray(image)
        if image.mode == "F" or values.max() > SIXTEEN_BIT_WHITE:
            raise ValueError("more than 16 bits a pixel")
        return Image.fromarray(np.round(values * (255 / SIXTEEN_BIT_WHITE)).astype(np.uint8))
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return image.convert("L")


def _visible(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, sorted by name, without hidden names."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 (bare names)
    for name in names:
        if name != name.encode(errors="replace").decode():
            raise DataError(f"{folder}: the name {os.fsencode(name)!r} is no UTF-8", "rename it")
        yield folder / name


def _class_images(folder: Path, root: Path) -> list[Path]:
    _refuse_outside(folder, root)
    images = []
    for path in _visible(folder):
        if path.is_dir():
            raise DataError(f"{path}: a folder inside the class {folder.name}", LAYOUT)
        if path.suffix.lower() in SUFFIXES:
            _refuse_outside(path, root)
            images.append(path)
    if not images:
        raise DataError(f"{folder}: no images ({' '.join(sorted(SUFFIXES))}) of this class", LAYOUT)
    return images


def _refuse_outside(path: Path, root: Path) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise DataError(f"{path}: a link that leads out of {root}", "copy what it leads to into the folder")
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path}: neither a file nor a folder", "remove it")
