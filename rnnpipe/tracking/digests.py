"""The digests that tie what MLflow stores to the files it was made from."""

import re
from collections.abc import Mapping
from pathlib import Path

from rnnpipe.errors import RegistrationError
from rnnpipe.evaluation.spec import MODEL_FILES
from rnnpipe.files import digest_of, sha256_file

MODEL_DIGEST_TAG = "rnnpipe.model_digest"
RECORD_DIGEST_TAG = "rnnpipe.record_digest"
DIGEST = re.compile("[0-9a-f]{64}")


def model_digest(model_folder: Path) -> str:
    """Return the SHA-256 (hex) over weights and spec of a model folder."""
    return digest_of({name: sha256_file(model_folder / name) for name in MODEL_FILES})


def registered_digest(uri: str, tags: Mapping[str, str]) -> str:
    """Return the digest of weights and spec that stands on a version; RegistrationError where none does."""
    digest = tags.get(MODEL_DIGEST_TAG, "")
    if not DIGEST.fullmatch(digest):  # it becomes the name of a folder
        raise RegistrationError(
            f"{uri} has no digest of its files as the tag {MODEL_DIGEST_TAG}",
            "it isn't one that rnnpipe registered, or its tag was changed: train and register it again",
        )
    return digest
