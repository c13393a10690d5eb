"""Prefect's cache of stages, which is there so that a skipped stage shows as Cached; the store alone is believed.

Prefect's record of a result names what reads it: pickle, or any module. So Prefect is let read a record only
where it is, to the byte, the one that Prefect would write of what the store holds.
"""

import shutil
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer
from prefect.settings import get_current_settings

from rnnpipe.references import Recipe, StageRef

SERIALIZER = JSONSerializer(object_decoder=None)  # Prefect's decoder imports and calls what a result names


def cache_key(recipe: Recipe) -> str:
    """Return a stage's key in Prefect's cache, which is also the name of its record's file."""
    return f"{recipe.stage}-{recipe.key}"


def with_cache(stage: Task[..., Any], recipe: Recipe, stored: StageRef | None) -> Task[..., Any]:
    """Return a stage's task; Prefect's cache is passed over where its record isn't of what the store holds."""
    folder = Path(get_current_settings().results.local_storage_path)
    is_known = holds_only(folder, cache_key(recipe), stored)
    return stage.with_options(refresh_cache=not is_known, result_storage=folder)


def holds_only(folder: Path, key: str, stored: StageRef | None) -> bool:
    """Say whether the record in a folder of results is the one of this output; any other is removed, unread."""
    path = folder / key
    if stored is not None and path.is_file() and not path.is_symlink():
        results = ResultStore(result_storage=LocalFileSystem(basepath=str(folder)), serializer=SERIALIZER)
        expected = results.create_result_record(stored.model_dump(), key=key).serialize()
        with path.open("rb") as file:
            if file.read(len(expected) + 1) == expected:
                return True
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return False
