"""Which data: what comes with a name, and what the user brings, images in folders or series in a file."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from rnnpipe.config.fields import Clash, ColumnName, DatasetName, FilePath, FolderPath, Section, Seed, WebAddress

Pixels = Annotated[int, Field(ge=4, le=512)]
# Of DataConfig: what belongs to data of these names only, and what it is the path of.
OWN = {
    "folder": ("folder",), "file": ("npz", "parquet"), "columns": ("parquet",), "image_size": ("folder",),
    "colour": ("folder",),
}  # fmt: skip
HELD = {"folder": "images", "file": "series"}


class ColumnsConfig(Section):
    """How the columns of a parquet file are called that holds a row for each time step of each series."""

    series: ColumnName = Field("series", description="Which series a row belongs to: numbers or text.")
    time: ColumnName = Field("time", description="By what the rows of a series are ordered.")
    label: ColumnName = Field("label", description="The class of the series, the same in all its rows.")
    features: tuple[ColumnName, ...] | None = Field(
        None,
        min_length=1,
        max_length=4096,
        description="What is measured; null: all other columns, in their order.",
    )

    def clashes(self) -> Iterator[Clash]:
        """Yield columns that would stand for two things."""
        named = [self.series, self.time, self.label, *(self.features or ())]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            yield Clash(("label",), f"the same column stands for two things: {', '.join(twice)}")


class DataConfig(Section):
    """Which images or series, from where, and how they are split."""

    name: DatasetName = Field("digits", description="Dataset; `rnnpipe datasets` lists them.")
    folder: FolderPath | None = Field(
        None, description="Your images, for `name: folder`: a path with one sub-folder a class."
    )
    file: FilePath | None = Field(
        None, description="Your series, for `name: npz` or `name: parquet`: the path of the file."
    )
    columns: ColumnsConfig | None = Field(
        None,
        description="How the columns of a `parquet` file are called; null: series, time, label, and features.",
    )
    image_size: tuple[Pixels, Pixels] | None = Field(
        None,
        description="Height and width in pixels that `folder` images are resized to (4 to 512; 28 x 28).",
    )
    colour: Literal["grey", "rgb"] | None = Field(
        None,
        description="What `folder` images are made into: grey (as without it), or rgb, so that each step has three"
        " times as many features.",
    )
    mirrors: tuple[WebAddress, ...] = Field(
        (), description="Base URLs (http or https) tried before the dataset's own, in this order."
    )
    validation_fraction: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the training images kept for validation (0 to 0.5; 0 = none).",
    )
    test_fraction: float = Field(
        0.2,
        ge=0.05,
        le=0.5,
        description="Share kept for testing where a dataset has no test split of its own.",
    )
    split_seed: Seed = Field(0, description="Seed of the splits; the same seed gives the same images.")
    limit: int | None = Field(
        None,
        ge=20,
        le=1_000_000_000,
        description="Use at most this many images for training and validation, for short tries.",
    )

    def clashes(self) -> Iterator[Clash]:
        """Yield what data of one's own needs, and what only it has."""
        for field, names in OWN.items():
            value = getattr(self, field)
            if value is None and self.name in names and field in ("folder", "file"):
                yield Clash((field, "name"), f"`name: {self.name}` needs the path of your {HELD[field]} here")
            elif value is not None and self.name not in names:
                only = " or ".join(f"`name: {name}`" for name in names)
                yield Clash((field, "name"), f"only for {only}, not for {self.name}")
