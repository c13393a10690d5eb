"""What a dataset's training images look like, in some kilobytes: left to compare with when the images are gone.

Shapes: N images of H x W pixels, K classes, L levels of grey.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rnnpipe.data.arrays import forget_pages, pieces
from rnnpipe.data.raw import WHITE, Labels, Pixels
from rnnpipe.errors import DataError
from rnnpipe.references import Reference

LEVELS = 16
MAX_NAMED = 5

Counts = NDArray[np.int64]
Table = tuple[tuple[int, ...], ...]


class Profile(Reference):
    """Sums over the training images: whole numbers, so that the order of adding can't change them.

    By class: `images` counts them, `blank` those of a single grey level; `row_sums` adds up the pixels of each
    row, `row_squares` the square of each image's sum. `row_levels` and `column_levels` count the pixels of each
    row and column in 16 equal levels from black to white.
    """

    format: Literal["rnnpipe-profile-1"] = "rnnpipe-profile-1"
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    channels: int = 1
    brightest: int
    images: tuple[int, ...]
    blank: tuple[int, ...]
    row_sums: Table
    row_squares: Table
    row_levels: Table
    column_levels: Table

    @property
    def total(self) -> int:
        """Number of training images."""
        return sum(self.images)


def profile_of(images_NHW: Pixels, labels_N: Labels, classes: Sequence[str]) -> Profile:
    """Return the profile of images, which nobody writes to; memory holds a piece of them at a time.

    Of images in colour (N, H, W, 3) the profile is that of their grey, the mean of red, green and blue.
    """
    height, width, *channels = images_NHW.shape[1:]
    images_K, blank_K = np.zeros((2, len(classes)), np.int64)
    sums_KH, squares_KH = np.zeros((2, len(classes), height), np.int64)
    levels, brightest = np.zeros(height * width * LEVELS, np.int64), 0
    first_level = np.arange(height * width) * LEVELS  # of each pixel
    for piece in pieces(len(labels_N), images_NHW.shape[1:]):
        part_NHW, y_N = np.array(images_NHW[piece]), labels_N[piece]
        forget_pages(images_NHW)
        if channels:
            part_NHW = (part_NHW.sum(axis=3, dtype=np.uint16) // channels[0]).astype(np.uint8)
        pixels_NP = part_NHW.reshape(len(part_NHW), -1)
        images_K += np.bincount(y_N, minlength=len(classes))
        blank_K += np.bincount(y_N[pixels_NP.min(axis=1) == pixels_NP.max(axis=1)], minlength=len(classes))
        sums_NH = part_NHW.sum(axis=2, dtype=np.int64)
        np.add.at(sums_KH, y_N, sums_NH)
        np.add.at(squares_KH, y_N, sums_NH**2)
        level_NP = pixels_NP // ((WHITE + 1) // LEVELS)
        levels += np.bincount((first_level + level_NP).ravel(), minlength=len(levels))
        brightest = max(brightest, int(pixels_NP.max()))
    levels_HWL = levels.reshape(height, width, LEVELS)
    return Profile(
        classes=tuple(classes), image_size=(height, width), channels=channels[0] if channels else 1,
        brightest=brightest,
        images=tuple(images_K.tolist()), blank=tuple(blank_K.tolist()),
        row_sums=_table(sums_KH), row_squares=_table(squares_KH),
        row_levels=_table(levels_HWL.sum(axis=1)), column_levels=_table(levels_HWL.sum(axis=0)),
    )  # fmt: skip


def check_images(profile: Profile, champion: Profile | None, name: str) -> None:
    """Raise DataError for images on which a training would be lost, or couldn't be compared with the champion's.

    `champion` is the profile of the images that the champion called `name` was trained on, where it is known.
    """
    if champion is not None:
        _check_size(profile, champion, name)
        _check_classes(profile, champion, name)
    _check_values(profile)
    if champion is not None:
        _check_blank_classes(profile, champion, name)


def _check_size(profile: Profile, champion: Profile, name: str) -> None:
    if profile.image_size != champion.image_size:
        (height, width), (old_height, old_width) = profile.image_size, champion.image_size
        raise DataError(
            f"the images have {height} x {width} pixels, those that {name} was trained on"
            f" {old_height} x {old_width}",
            f"set data.image_size to [{old_height}, {old_width}], or give models of the new size a name of their"
            " own as registry.model_name",
        )
    if profile.channels != champion.channels:
        kinds = {1: "grey", 3: "in colour"}
        raise DataError(
            f"the images are {kinds.get(profile.channels)}, those that {name} was trained on"
            f" {kinds.get(champion.channels)}",
            f"set data.colour to {'rgb' if champion.channels == 3 else 'grey'}, or give the new models a name of"
            " their own as registry.model_name",
        )


def _check_classes(profile: Profile, champion: Profile, name: str) -> None:
    there = _by_class(profile, profile.images)
    known = _by_class(champion, champion.images)
    missing = {each: count for each, count in known.items() if count and not there.get(each)}
    if missing:
        listed = ", ".join(f"{each} ({count:,} images)" for each, count in list(missing.items())[:MAX_NAMED])
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        raise DataError(
            f"classes without training images that {name} was trained on: {listed}{more}",
            "bring their images back, or give models without these classes a name of their own as"
            " registry.model_name",
        )


def _check_values(profile: Profile) -> None:
    if sum(profile.blank) == profile.total:
        raise DataError(
            f"each of the {profile.total:,} training images is of a single grey level: there is nothing to learn",
            "look at the image files: their content is lost",
        )
    if profile.brightest <= 1:
        raise DataError(
            f"no pixel of the {profile.total:,} training images is brighter than 1 of {WHITE}: they were scaled to"
            " 0 to 1, or hold 8-bit values in 16-bit files",
            f"save them with grey levels from 0 to {WHITE} (16-bit files: to 65,535)",
        )


def _check_blank_classes(profile: Profile, champion: Profile, name: str) -> None:
    """Refuse classes that have become blank; one that always was may be meant to be."""
    known = dict(zip(champion.classes, zip(champion.images, champion.blank, strict=True), strict=True))
    for each, count, blank in zip(profile.classes, profile.images, profile.blank, strict=True):
        old_count, old_blank = known.get(each, (0, 0))
        if blank == count and old_blank < old_count:
            raise DataError(
                f"each of the {count:,} training images of the class {each} is of a single grey level; of those"
                f" that {name} was trained on, {old_blank:,} of {old_count:,} were",
                "look at the image files of this class: their content is lost",
            )


def _by_class(profile: Profile, counts: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(profile.classes, counts, strict=True))


def _table(counts: Counts) -> Table:
    return tuple(tuple(row) for row in counts.tolist())
