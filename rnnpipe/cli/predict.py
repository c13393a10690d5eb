"""predict: image files in, classes and probabilities out."""

import json
from pathlib import Path

import click


@click.command(short_help="Classify images with a registered model.")
@click.argument("model")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--invert", is_flag=True, help="For dark strokes on light paper; MNIST and digits are light on dark."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON line an image, with every class.")
def predict(model: str, images: tuple[Path, ...], invert: bool, as_json: bool) -> int:
    """Classify IMAGES, files or folders, with MODEL: NAME (its champion), models:/NAME@ALIAS or models:/NAME/3."""
    paths = _image_files(images)
    from rnnpipe.errors import DataError
    from rnnpipe.store import workspace_root
    from rnnpipe.tracking.addresses import resolve_uri
    from rnnpipe.tracking.client import open_tracking
    from rnnpipe.tracking.promotion import fetch_model
    from rnnpipe.tracking.registry import resolve_model_uri

    workspace = workspace_root()
    tracking = open_tracking(resolve_uri(None, workspace), None, workspace)
    version = resolve_model_uri(tracking, model)
    click.echo(f"{version.uri}: {version.tags.get('rnnpipe.variant', '')}", err=True)
    from rnnpipe.evaluation.deploy import classify_files

    code = 0
    for path, probabilities in classify_files(fetch_model(tracking, version, workspace), paths, invert=invert):
        if isinstance(probabilities, DataError):
            click.secho(f"error: {probabilities}", fg="red", err=True)
            code = probabilities.exit_code
            continue
        best = max(probabilities, key=lambda name: probabilities[name])
        if as_json:
            click.echo(json.dumps({"image": str(path), "class": best, "probabilities": probabilities}))
        else:
            click.echo(f"{path}  {best}  {probabilities[best]:.4f}")
    return code


def _image_files(images: tuple[Path, ...]) -> list[Path]:
    """Return the files meant; of a folder its images, but nothing hidden."""
    from rnnpipe.data.folder import SUFFIXES
    from rnnpipe.errors import DataError

    paths: list[Path] = []
    for image in images:
        if not image.exists():
            raise DataError(f"{image}: there is no such file or folder", "name image files, or a folder of them")
        below = [path for path in sorted(image.rglob("*")) if path.suffix.lower() in SUFFIXES]
        shown = [path for path in below if not any(part.startswith(".") for part in path.relative_to(image).parts)]
        if image.is_dir() and not shown:
            raise DataError(f"{image}: no image in this folder", f"images end in {', '.join(sorted(SUFFIXES))}")
        paths += shown if image.is_dir() else [image]
    return paths
