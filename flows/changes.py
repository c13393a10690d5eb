"""Whether anything has changed since a model was last judged: the images, the config, or the code."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from flows.session import Session
from rnnpipe.catalogue import DATASETS, SEQUENCES, VARIANTS
from rnnpipe.config import PipelineConfig
from rnnpipe.config.execution import DECIDING
from rnnpipe.errors import TrackingError
from rnnpipe.explanation import what_differs
from rnnpipe.files import digest_of, sha256_file, sha256_tree
from rnnpipe.plugins import code_of
from rnnpipe.provenance import PACKAGE
from rnnpipe.references import Recipe
from rnnpipe.tracking.judged import FAILED, Basis, Judged, judged_versions

CODE_FOLDERS, CODE_FILES = ("data", "evaluation", "models", "training"), ("runtime.py",)
# who else is asked for the images, where they lie, how runs are called and kept: none of it changes a verdict
LEFT_OUT = {
    "name": True, "tracking": True, "sweep": True, "data": {"folder", "file", "mirrors"},
    "training": {"preflight"},
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """Why there is something to train, or else the version that was judged on the very same."""

    reason: str
    same: Judged | None = None


def basis_of(config: PipelineConfig, images: Recipe) -> Basis:
    """Return everything that can change a verdict; `images` is the recipe of the dataset, read at its source."""
    sections = config.model_dump(mode="json", exclude=LEFT_OUT)  # type: ignore[arg-type]
    return {
        **sections,
        "images": images.inputs["data"]["content"],
        "variants": {each.label: digest_of(each.model_dump(mode="json")) for each in config.variants},
        "execution": config.execution.model_dump(mode="json", include=set(DECIDING)),
        "torch": version("torch"),
        "code": {
            **{name: sha256_tree(PACKAGE / name) for name in CODE_FOLDERS},
            **{name: sha256_file(PACKAGE / name) for name in CODE_FILES},
        },
        **code_of(
            DATASETS[config.data.name],
            SEQUENCES[config.sequence.name],
            *(VARIANTS[each.name] for each in config.variants),
        ),
    }


def what_changed(session: Session, config: PipelineConfig, basis: Basis) -> Change:
    """Compare with what the versions of the config's model were judged on."""
    try:
        judged = judged_versions(session.tracking(config), config.model_name)
    except TrackingError as error:
        return Change(f"it isn't known what the last verdict was on: {error.message}")
    return change_since(basis, judged, config.model_name)


def change_since(basis: Basis, judged: Sequence[Judged], model_name: str) -> Change:
    """Return what differs from the latest verdict of `judged`, unless one of them was on the very same."""
    for each in judged:
        if each.basis == basis:
            reason = f"same images, config and code as {each.uri}, judged {each.decision} on {each.at}"
            return Change(reason, each)
    if not judged:
        return Change(f"no version of {model_name} says what it was judged on")
    if failed := judged[0].basis.get(FAILED):
        return Change(f"{', '.join(failed)} had failed when {judged[0].uri} was judged on {judged[0].at}")
    return Change(f"{what_differs(basis, [judged[0].basis])} since {judged[0].uri} was judged on {judged[0].at}")
