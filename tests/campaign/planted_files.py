"""Hostile files among what is kept: Prefect's results, the spool, what versions carry, manifests."""

import base64
import hashlib
import json
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bombs import DEEP, WEIGHTS
from hostile_files import Case, put, raw_pickle, seal, torch_pickle
from hostile_reading import RECIPE, STORED, VERSION_FILES

from flows.cached import SERIALIZER, cache_key
from rnnpipe.evaluation.report import PREDICTIONS_FILE
from rnnpipe.files import MAX_JSON_BYTES, digest_of, write_json
from rnnpipe.store import Store
from rnnpipe.tracking.record import DIGESTED_FILES, RECORD_FILE, Record
from rnnpipe.training.environment import Environment

KEY = cache_key(RECIPE)
JSON_SERIALIZER = SERIALIZER.model_dump()


def record(serializer: dict[str, Any] | None, result: object, **others: Any) -> bytes:
    """Return a record of a result as Prefect keeps it."""
    metadata = {} if serializer is None else {"serializer": serializer}
    return json.dumps({"metadata": metadata, "result": result, **others}).encode()


def pickled(canary: Path) -> str:
    return base64.encodebytes(raw_pickle(canary)).decode()


def compressed(canary: Path) -> str:
    return base64.encodebytes(lzma.compress(pickled(canary).encode())).decode()


# Where Prefect reads these, they run.
RUNNING: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda canary: record({"type": "pickle"}, pickled(canary)),
    "pickle of another library": lambda canary: record({"type": "pickle", "picklelib": "pickle"}, pickled(canary)),
    "compressed pickle": lambda canary: record({"type": "compressed/pickle"}, compressed(canary)),
    "pickle within compression": lambda canary: record(
        {"type": "compressed", "serializer": {"type": "pickle"}}, compressed(canary)),
    "no serializer, which means pickle": lambda canary: record(None, pickled(canary)),
    "record of an older Prefect": lambda canary: json.dumps(
        {"serializer": {"type": "pickle"}, "data": pickled(canary), "prefect_version": "2.0"}).encode(),
    "JSON whose decoder starts processes": lambda canary: record(
        {**JSON_SERIALIZER, "object_decoder": "subprocess.check_call"}, json.dumps({"touch": 1, str(canary): 2})),
}  # fmt: skip
ODD: dict[str, Callable[[Path], bytes]] = {
    "bare pickle": raw_pickle,
    "JSON read by another library": lambda canary: record(
        {**JSON_SERIALIZER, "jsonlib": "pickle"}, pickled(canary)),
    "JSON that names a class": lambda canary: record(
        {"type": "json"}, json.dumps({"__class__": "pydantic.ImportString", "data": "this"})),
    "JSON that names an exception": lambda canary: record(
        {"type": "json"}, json.dumps({"__exc_type__": "builtins.SystemExit", "message": "0"})),
    "another result": lambda canary: record(JSON_SERIALIZER, json.dumps({**STORED.model_dump(), "stage": "../x"})),
    "nested JSON": lambda canary: DEEP.encode(),
    "64 MiB of zeros": lambda canary: bytes(64 << 20),
    "nothing": lambda canary: b"",
}  # fmt: skip
SPOOLED: dict[str, Callable[[Path], bytes]] = {
    "pickle": raw_pickle,
    "torch.save": torch_pickle,
    "nested JSON": lambda canary: DEEP.encode(),
    "more than 16 MiB of JSON": lambda canary: b"[" + b" " * MAX_JSON_BYTES + b"]",
    "16 MiB of empty lists": lambda canary: b"[" + b"[]," * ((MAX_JSON_BYTES - 8) // 3) + b"1]",
    "no object": lambda canary: b"[1]",
    "unknown keys": lambda canary: json.dumps({f"k{number}": 1 for number in range(60_000)}).encode(),
}  # fmt: skip
OUTSIDE = ("../../../outside", "a/../../../../outside", "/outside", "..", "a\0b")


def planted_cases() -> Iterator[Case]:
    """Yield every hostile file of this module."""
    for name, content in {**RUNNING, **ODD}.items():
        yield result_case(name, "results", content)
    yield Case("link as a result of Prefect's", "results", linked_result)
    yield Case("folder as a result of Prefect's", "results", lambda folder, canary: (folder / KEY).mkdir())
    yield Case("pipe as a result of Prefect's", "results", lambda folder, canary: os.mkfifo(folder / KEY))
    for name, content in SPOOLED.items():
        yield Case(
            f"{name} in the spool",
            "spool",
            lambda folder, canary, content=content: put("spool", folder, "spool/x.json", content(canary)),
        )
        yield Case(
            f"{name} as {RECORD_FILE} (version)",
            "version",
            lambda folder, canary, content=content: plant_version(folder, RECORD_FILE, content(canary)),
        )
    for name, content in {"pickle": raw_pickle, "torch.save": torch_pickle}.items():
        yield Case(
            f"{name} as {PREDICTIONS_FILE} (version)",
            "version",
            lambda folder, canary, content=content: plant_version(folder, PREDICTIONS_FILE, content(canary)),
        )
    for name, weights in WEIGHTS.items():
        yield Case(
            f"{name} as {PREDICTIONS_FILE} (version)",
            "version",
            lambda folder, canary, weights=weights: plant_version(folder, PREDICTIONS_FILE, weights()),
        )
    for name in OUTSIDE:
        yield Case(
            f"{name!r} in a manifest", "store", lambda folder, canary, name=name: plant_manifest(folder, name)
        )


def result_case(name: str, reader: str, content: Callable[[Path], bytes]) -> Case:
    """Return the case of a hostile record among Prefect's results."""
    return Case(
        f"{name} as a result of Prefect's",
        reader,
        lambda folder, canary: put(reader, folder, KEY, content(canary)),
    )


def linked_result(folder: Path, canary: Path) -> None:
    folder.with_name("outside").write_bytes(RUNNING["pickle"](canary))
    (folder / KEY).symlink_to(folder.with_name("outside"))


def plant_version(folder: Path, name: str, content: bytes) -> None:
    """Write what a registered version carries, one file hostile, with the digests as they should be."""
    place = folder / VERSION_FILES
    place.mkdir(parents=True)
    for each in DIGESTED_FILES:
        (place / each).write_bytes(content if each == name else b"")
    files = {each: hashlib.sha256((place / each).read_bytes()).hexdigest() for each in DIGESTED_FILES}
    made = Record(
        config={}, variant=0, seed=0, dataset_digest="", sequences_digest="", code={}, device="cpu", threads=1,
        precision="fp32", environment=Environment.of_this_process(), losses_digest="", files=files,
    )  # fmt: skip
    write_json(place / RECORD_FILE, made.model_dump(mode="json"))
    if name == RECORD_FILE:
        (place / name).write_bytes(content)


def plant_manifest(folder: Path, name: str) -> None:
    """Let a whole manifest name a file outside its folder: a pipe, at which a reader would wait for ever."""
    outside = folder.with_name("outside")
    os.mkfifo(outside)
    place = Store(folder).folder(RECIPE)
    place.mkdir(parents=True)
    named = str(outside) if name.startswith("/") else name
    seal(place, files={named: "0" * 64}, digest=digest_of({named: "0" * 64}))
