"""One image file of any common format as pixels of one size, grey or in colour.

It runs in processes of its own as well (decoders.py), so it imports little.
Shapes: H rows and W columns of pixels.
"""

import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps

from rnnpipe.data.raw import Pixels
from rnnpipe.errors import DataError

SIXTEEN_BIT_WHITE = 65_535
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow gives others to programs, such as gs
# A hostile image may cost two seconds and 512 MiB.
MAX_FILE_BYTES = 256 << 20
MAX_SIDE = 65_535
MAX_PIXELS = 50_000_000
MAX_WEBP_PIXELS = 24_000_000  # its decoder holds the picture several times
MAX_SLOW_PIXELS = 500_000  # of the few kinds that Pillow decodes in Python
STRIP_PIXELS = 256  # across
FIX = "replace the file, or remove it"

Colour = Literal["grey", "rgb"]
MODES: dict[Colour, str] = {"grey": "L", "rgb": "RGB"}


class Form(NamedTuple):
    """What images are made into: height and width in pixels, grey or in three colours."""

    image_size: tuple[int, int]
    colour: Colour = "grey"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image: (H, W), or (H, W, 3) in colour."""
        return self.image_size if self.colour == "grey" else (*self.image_size, 3)


def decode_image(path: Path, image_size: tuple[int, int], colour: Colour = "grey") -> Pixels:
    """Return one image as grey pixels (H, W), or red, green and blue (H, W, 3).

    Turned as its EXIF tag says, transparency laid over white. Of an animation or a document of several pages, the
    first. Resized with a Lanczos filter. DataError where it can't be decoded or has so many pixels that it may be
    a decompression bomb.
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
                plain = _plain(image, MODES[colour])
        return np.array(plain.resize((width, height), Image.Resampling.LANCZOS))
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise DataError(f"{path}: not an image that can be used: {error}", FIX) from None


def _refuse_bomb(image: ImageFile.ImageFile) -> None:
    """Raise ValueError for more pixels than an image of this kind may have; nothing is decoded yet."""
    is_slow = any(tile.codec_name in Image.DECODERS for tile in image.tile)
    limit = MAX_SLOW_PIXELS if is_slow else MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS
    if image.width * image.height > limit or max(image.size) > MAX_SIDE:
        raise ValueError(
            f"{image.width} x {image.height} pixels, more than {limit:,} or {MAX_SIDE:,} a side: is it a"
            " decompression bomb?"
        )


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Return the image in grey or RGB, made strip by strip: what is in between takes more memory than it."""
    (width, height), plain = image.size, Image.new(mode, image.size)
    is_wide = width > height
    for start in range(0, max(width, height), STRIP_PIXELS):
        end = start + STRIP_PIXELS
        box = (start, 0, min(end, width), height) if is_wide else (0, start, width, min(end, height))
        plain.paste(_plain_strip(image.crop(box), mode), box)
    return plain


def _plain_strip(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # Pillow would clip these at 255
        values = np.asarray(image)
        if image.mode == "F" or values.max() > SIXTEEN_BIT_WHITE:
            raise ValueError("more than 16 bits a pixel")
        return Image.fromarray(np.round(values * (255 / SIXTEEN_BIT_WHITE)).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return image.convert(mode)
