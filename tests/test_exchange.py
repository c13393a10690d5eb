"""The exchange: folders of files that are left in a place and fetched elsewhere, each checked by its digest."""

import json
from pathlib import Path

import pytest

from rnnpipe.errors import ConfigError, DataError, StorageError
from rnnpipe.exchange import LISTING, Exchange, FilePlace
from rnnpipe.files import sha256_file

PLACE = "trainings/ab/output"


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    url = (tmp_path / "shared place").as_uri().replace("%20", " ")
    return Exchange(FilePlace(url), url)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "log").mkdir(parents=True)
    (folder / "weights").write_bytes(b"\0\1\2")
    (folder / "log/journal").write_text("one\n")
    return folder


def left(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "shared place" / PLACE).iterdir()}


def test_what_is_left_is_fetched_with_its_facts(exchange: Exchange, source: Path, tmp_path: Path) -> None:
    names, target = ["weights", "log/journal"], tmp_path / "target"
    listing = exchange.put(PLACE, source, names, {"accuracy": 0.1 + 0.2})
    assert exchange.find(PLACE) == listing and listing.facts == {"accuracy": 0.1 + 0.2}
    exchange.fetch(PLACE, listing, target)
    assert {name: sha256_file(target / name) for name in names} == listing.files
    assert left(tmp_path) == {LISTING, *listing.files.values()}
    assert exchange.folders("trainings/ab") == ["output"]
    exchange.remove("trainings/ab")
    exchange.remove("trainings/ab")
    assert exchange.find(PLACE) is None and exchange.folders("trainings/ab") == []


def test_of_files_that_change_two_generations_stay(exchange: Exchange, source: Path, tmp_path: Path) -> None:
    listings = []
    for number in range(3):
        (source / "log/journal").write_text("one\n" * (number + 1))
        listings.append(exchange.put(PLACE, source, ["log/journal"], {}))
    assert left(tmp_path) == {LISTING, *listings[1].files.values(), *listings[2].files.values()}


def test_an_altered_file_is_refused_and_a_missing_one_told(
    exchange: Exchange, source: Path, tmp_path: Path
) -> None:
    listing = exchange.put(PLACE, source, ["weights"], {})
    (place,) = (tmp_path / "shared place" / PLACE).glob(listing.files["weights"])
    place.write_bytes(b"\0\1\3")
    with pytest.raises(DataError, match="weights isn't the file that was left there"):
        exchange.fetch(PLACE, listing, tmp_path / "target")
    place.unlink()
    with pytest.raises(DataError, match="weights isn't there any more"):
        exchange.fetch(PLACE, listing, tmp_path / "target")
    assert not list((tmp_path / "target").iterdir())


@pytest.mark.parametrize("damage", ["torn", "altered", "outside", "list"])
def test_a_listing_that_is_damaged_is_none(exchange: Exchange, source: Path, tmp_path: Path, damage: str) -> None:
    exchange.put(PLACE, source, ["weights"], {})
    path = tmp_path / "shared place" / PLACE / LISTING
    text = path.read_text()
    values = {
        "torn": text[:-9],
        "altered": text.replace('"facts": {}', '"facts": {"a": 1}'),
        "outside": text.replace("weights", "../../weights"),
        "list": json.dumps([text]),
    }
    assert values[damage] != text
    path.write_text(values[damage])
    assert exchange.find(PLACE) is None


def test_what_is_half_removed_is_not_found(
    exchange: Exchange, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange.put(PLACE, source, ["weights"], {})
    remove = FilePlace.remove

    def fail_at_folders(self: FilePlace, name: str) -> None:
        if not name.endswith(LISTING):
            raise OSError("gone")
        remove(self, name)

    monkeypatch.setattr(FilePlace, "remove", fail_at_folders)
    with pytest.raises(StorageError, match="gone"):
        exchange.remove(PLACE)
    assert left(tmp_path) == {sha256_file(source / "weights")} and exchange.find(PLACE) is None


def test_a_place_that_fails_or_is_unknown_is_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    exchange = Exchange(FilePlace(str(tmp_path / "file")), "s3://me:secret@bucket")
    with pytest.raises(StorageError, match=r"the exchange s3://\*\*\*@bucket fails") as failed:
        exchange.put(PLACE, source, ["weights"], {})
    assert "RNNPIPE_EXCHANGE" in failed.value.fix
    with pytest.raises(ConfigError, match=r"the exchange nowhere://\*\*\*@x can't be used") as unknown:
        FilePlace("nowhere://me:secret@x")
    assert "secret" not in str(unknown.value) and "RNNPIPE_EXCHANGE" in unknown.value.fix
