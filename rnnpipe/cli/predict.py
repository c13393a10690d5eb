"""predict: files of images or series in, classes and probabilities out."""

import json
import os
from pathlib import Path

import click

from rnnpipe.cli.words import model_argument


@click.command(short_help="Classify images or series with a registered model.")
@model_argument()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--invert", is_flag=True, help="For dark strokes on light paper; MNIST and digits are light on dark."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON line an image or series, with every class.")
def predict(model: str, images: tuple[Path, ...], invert: bool, as_json: bool) -> int:
    """Classify IMAGES, files or folders, with MODEL: NAME (its champion), models:/NAME@ALIAS or models:/NAME/3.

    A model of series takes .npz and .parquet files instead, in the layout that it was trained on, without labels.
    """
    paths = _image_files(images)
    from rnnpipe.cli.opening import open_registry
    from rnnpipe.tracking.promotion import fetch_model
    from rnnpipe.tracking.registry import resolve_model_uri

    tracking, workspace = open_registry()
    version = resolve_model_uri(tracking, model)
    click.echo(f"{version.uri}: {version.tags.get('rnnpipe.variant', '')}", err=True)
    from rnnpipe.evaluation.answers import answers

    code = 0
    for answer in answers(fetch_model(tracking, version, workspace), paths, invert=invert):
        if answer.error is not None:
            click.secho(f"error: {answer.error}", fg="red", err=True)
            code = answer.error.exit_code
            continue
        if as_json:
            told = {**answer.named, "class": answer.best, "probabilities": answer.probabilities}
            click.echo(json.dumps(told))
        else:
            shown = "  ".join(_printable(each) for each in answer.named.values())
            click.echo(f"{shown}  {answer.best}  {answer.probabilities[answer.best]:.4f}")
    return code


def _image_files(images: tuple[Path, ...]) -> list[Path]:
    """Return the files meant; of a folder its images, but nothing hidden."""
    from rnnpipe.errors import DataError

    paths: list[Path] = []
    for image in images:
        if not os.path.exists(image):  # noqa: PTH110 (Path.exists raises for a name that is too long)
            raise DataError(
                f"{_printable(image)}: there is no such file or folder", "name image files, or a folder of them"
            )
        paths += _images_below(image) if image.is_dir() else [image]
    return paths


def _images_below(folder: Path) -> list[Path]:
    from rnnpipe.data.folder import SUFFIXES
    from rnnpipe.errors import DataError

    root = Path(os.path.realpath(folder))
    below = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    shown = [path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not shown:
        raise DataError(
            f"{_printable(folder)}: no image in this folder", f"images end in {', '.join(sorted(SUFFIXES))}"
        )
    for path in shown:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise DataError(
                f"{_printable(path)}: a link that leads out of the folder",
                "name what it leads to beside the folder, or copy it into the folder",
            )
    return shown


def _printable(path: Path | str) -> str:
    """Return a path, or a name, for a terminal: what is no UTF-8 and control characters are written as escapes."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(path))
