"""Series from files: whatever the layout, the same arrays with NaN after the ends; what is wrong is named."""

import numpy as np
import pytest

from rnnpipe.config.data import ColumnsConfig, DataConfig
from rnnpipe.config.sections import SequenceConfig, VariantConfig
from rnnpipe.data import arrays
from rnnpipe.data.npz import load_npz
from rnnpipe.data.parquet import load_parquet
from rnnpipe.data.series import check_series, feature_statistics
from rnnpipe.data.stages import build_dataset, build_sequences, dataset_recipe, open_split, sequences_recipe
from rnnpipe.errors import DataError
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.store import Store

TOTAL, STEPS, FEATURES = 40, 7, 3
LABELS_N = np.array(["sit", "walk"])[np.arange(TOTAL) % 2]
LENGTHS_N = 1 + np.arange(TOTAL) % STEPS


def series(seed=0):
    random = np.random.default_rng(seed)
    return random.normal(5, 2, (TOTAL, STEPS, FEATURES))


def padded(x_NTI, lengths_N=LENGTHS_N):
    """Return series with NaN after their ends."""
    x_NTI = x_NTI.copy()
    x_NTI[np.arange(STEPS) >= lengths_N[:, None]] = np.nan
    return x_NTI


@pytest.fixture(name="save")
def make_save(tmp_path):
    """Write an .npz file and return the config that names it; None leaves an array out."""

    def save(**changes):
        path = tmp_path / "my series.npz"
        held = {"x": series(), "y": LABELS_N, "lengths": LENGTHS_N, **changes}
        np.savez(path, **{name: array for name, array in held.items() if array is not None})
        return DataConfig(name="npz", file=str(path))

    return save


def load(config, tmp_path):
    loader = load_npz if config.name == "npz" else load_parquet
    return loader(None, config, tmp_path / "downloads")


def everything(raw):
    return raw.part(np.arange(len(raw.labels_N)))


def test_lengths_may_stand_beside_the_series_or_in_their_padding(save, tmp_path):
    expected = padded(series()).astype(np.float32)
    rubbish = np.where(np.isnan(expected), np.inf, series())
    for config in (
        save(),
        save(x=rubbish),
        save(x=padded(series()), lengths=None),
        save(x=np.asfortranarray(rubbish)),
    ):
        raw = load(config, tmp_path)
        np.testing.assert_array_equal(everything(raw), expected)
        np.testing.assert_array_equal(raw.lengths_N, LENGTHS_N)
    assert raw.classes == ("sit", "walk") and raw.labels_N.tolist() == [0, 1] * (TOTAL // 2)
    assert raw.features == ("feature 0", "feature 1", "feature 2")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_names_and_numbers_of_classes_and_features(save, tmp_path):
    raw = load(save(y=np.arange(TOTAL) % 3 * 10, features=["x", "y", "z"]), tmp_path)
    assert raw.classes == ("0", "10", "20") and raw.features == ("x", "y", "z")
    raw = load(save(y=np.arange(TOTAL) % 3, classes=["c", "a", "b"]), tmp_path)
    assert raw.classes == ("c", "a", "b") and raw.labels_N[:4].tolist() == [0, 1, 2, 0]
    raw = load(save(x=np.arange(TOTAL * STEPS).reshape(TOTAL, STEPS), lengths=None), tmp_path)
    assert raw.x_NTI.shape == (TOTAL, STEPS, 1) and (raw.lengths_N == STEPS).all()


def with_value(value, place=(3, 1, 2)):
    x_NTI = series()
    x_NTI[place] = value
    return x_NTI


def with_length(length):
    return np.where(np.arange(TOTAL) == 5, length, LENGTHS_N)


MISTAKES = {
    "a gap": ({"x": with_value(np.nan)}, r"feature 2 of series 3 is nan at step 1"),
    "infinite": ({"x": with_value(-np.inf), "features": ["a", "b", "c"]}, r"c of series 3 is -inf at step 1"),
    "beyond float32": ({"x": with_value(1e39)}, r"is 1e\+39 at step 1: no finite float32"),
    "a gap without lengths": ({"x": with_value(np.nan), "lengths": None}, "is nan at step 1"),
    "only padding": ({"x": with_value(np.nan, 2), "lengths": None}, r"lengths\[2\] = 0"),
    "length 0": ({"lengths": with_length(0)}, r"lengths\[5\] = 0, and there are 7 steps \(1 of 40 lengths"),
    "length > T": ({"lengths": with_length(8)}, r"lengths\[5\] = 8, and there are 7 steps"),
    "lengths of floats": ({"lengths": LENGTHS_N / 2}, "lengths has the shape .* float64"),
    "too few lengths": ({"lengths": LENGTHS_N[:9]}, r"lengths has 9 entries.* N = 40"),
    "too few labels": ({"y": LABELS_N[:9]}, "y has 9 entries"),
    "labels of floats": ({"y": np.ones(TOTAL)}, r"labels of the shape \(40,\) and the type float64"),
    "labels of two columns": ({"y": np.ones((TOTAL, 2), int)}, r"labels of the shape \(40, 2\)"),
    "one label": ({"y": np.ones(TOTAL, int)}, "1 class, so there is nothing"),
    "labels beyond classes": ({"y": np.arange(TOTAL), "classes": ["a", "b"]}, "labels from 0 to 39 with 2 names"),
    "names twice": ({"features": ["a", "a", "b"]}, "features has the shape"),
    "names of others": ({"features": ["a", "b"]}, "features has 2 entries.* I = 3"),
    "no labels": ({"y": None}, "there is no array y"),
    "no series": ({"x": None}, "there is no array x"),
    "unknown arrays": ({"labels": LABELS_N}, "unknown arrays labels"),
    "flat": ({"x": np.ones(TOTAL)}, r"x has the shape \(40,\)"),
    "text": ({"x": np.full((TOTAL, STEPS, 1), "a")}, "x has the shape .*<U1"),
    "objects": ({"x": np.full((TOTAL, STEPS, 1), None)}, "not a file of series: x holds Python objects"),
    "objects as labels": ({"y": np.full(TOTAL, None)}, "not a file of series"),
    "empty": ({"x": np.ones((0, 3, 2)), "y": np.ones(0, int), "lengths": None}, "0 class|labels of"),
    "without steps": ({"x": np.ones((TOTAL, 0, 2)), "lengths": None}, "series of 0 steps"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_wrong_is_named_with_its_fix(name, save, tmp_path):
    changes, words = MISTAKES[name]
    with pytest.raises(DataError, match=words) as caught:
        load(save(**changes), tmp_path)
    assert caught.value.fix and "my series.npz" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello" * 100])
def test_what_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz: not a file of series"):
        load(DataConfig(name="npz", file=str(tmp_path / "x.npz")), tmp_path)


@pytest.mark.parametrize("file", ["none.npz", "~nobody-here/x.npz", "x" * 5000])
def test_a_file_that_is_not_there_is_named(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (dataset_recipe, lambda config: load(config, tmp_path)):
        with pytest.raises(DataError, match="there is no such file"):
            read(DataConfig(name="npz", file=file))


@pytest.fixture(name="table")
def make_table():
    """Return the columns of the series as a table has them, in a random order of rows."""
    pytest.importorskip("pyarrow")
    places, steps = (~np.isnan(padded(series())[..., 0])).nonzero()
    order = np.random.default_rng(1).permutation(len(places))
    places, steps = places[order], steps[order]
    ids = np.array([f"s{place:02}" for place in range(TOTAL)])
    columns = {"series": ids[places], "time": steps * 0.5, "label": LABELS_N[places]}
    return columns | {f"feature {number}": series()[places, steps, number] for number in range(FEATURES)}


def write_table(tmp_path, content, **fields):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(content), tmp_path / "rows.parquet")
    return DataConfig(name="parquet", file=str(tmp_path / "rows.parquet"), **fields)


def test_a_table_of_rows_in_any_order_gives_the_same_series(table, tmp_path):
    raw = load(write_table(tmp_path, table), tmp_path)
    np.testing.assert_array_equal(everything(raw), padded(series()).astype(np.float32))
    assert raw.classes == ("sit", "walk") and raw.labels_N.tolist() == [0, 1] * (TOTAL // 2)
    assert raw.features == ("feature 0", "feature 1", "feature 2")


def test_columns_of_other_names_types_and_number(table, tmp_path):
    days = np.datetime64("2026-01-01") + np.rint(table["time"] * 2).astype(int)
    columns = {
        "who": np.array([int(each[1:]) for each in table["series"]]), "day": days, "what": table["label"],
        "b": table["feature 1"], "note": table["label"], "a": table["feature 0"].astype(np.float32),
    }  # fmt: skip
    named = ColumnsConfig(series="who", time="day", label="what", features=("a", "b"))
    raw = load(write_table(tmp_path, columns, columns=named), tmp_path)
    np.testing.assert_array_equal(everything(raw), padded(series())[..., :2].astype(np.float32))
    assert raw.features == ("a", "b")


def with_row(table, **values):
    """Return a table with one more row: the first one's, with other values."""
    return {
        name: np.append(column, np.asarray(values.get(name, column[0]), column.dtype))
        for name, column in table.items()
    }


def with_gap(table):
    import pyarrow

    values = pyarrow.array(table["feature 1"], mask=np.arange(len(table["time"])) == 4)
    return {**table, "feature 1": values}


TABLE_MISTAKES = {
    "no column": (
        lambda t: {n: c for n, c in t.items() if n != "time"},
        "there is no column time; it has series,",
    ),
    "a gap": (with_gap, r"column feature 1 has 1 empty rows of \d+"),
    "text": (lambda t: {**t, "note": t["label"]}, "column note is of the type string, and features are numbers"),
    "two at once": (with_row, r"series s\d\d has two rows with time"),
    "two labels": (
        lambda t: with_row(t, time=99.0, label="run"),
        r"series s\d\d has the labels (sit|walk|run) and",
    ),
    "no features": (lambda t: {n: t[n] for n in ("series", "time", "label")}, "0 features"),
    "no rows": (lambda t: {name: column[:0] for name, column in t.items()}, "0 rows"),
    "NaN": (
        lambda t: {**t, "feature 0": np.full(len(t["time"]), np.nan)},
        "feature 0 of series 0 is nan at step 0",
    ),
}


@pytest.mark.parametrize("name", TABLE_MISTAKES)
def test_what_is_wrong_in_a_table_is_named_with_its_fix(name, table, tmp_path):
    change, words = TABLE_MISTAKES[name]
    with pytest.raises(DataError, match=words) as caught:
        load(write_table(tmp_path, change(table)), tmp_path)
    assert caught.value.fix and "rows.parquet" in caught.value.message


def test_what_is_no_parquet_file_is_refused(table, tmp_path):
    config = write_table(tmp_path, table)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not a parquet file"):
        load(config, tmp_path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "rows.parquet").touch()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match="pyarrow") as caught:
        load(DataConfig(name="parquet", file=str(tmp_path / "rows.parquet")), tmp_path)
    assert "rnnpipe[parquet]" in caught.value.fix


def make(config, tmp_path, sequence=None, store="store"):
    sequence, store = sequence or SequenceConfig(name="as-is", scaling="standard"), Store(tmp_path / store)
    dataset = store.ensure(
        dataset_recipe(config), lambda folder: build_dataset(config, tmp_path / "downloads", folder), "one"
    )
    recipe = sequences_recipe(dataset.ref, config, sequence)
    return dataset, store.ensure(recipe, lambda folder: build_sequences(dataset, config, sequence, folder), "one")


def test_series_go_through_the_store_with_their_lengths(save, tmp_path, monkeypatch):
    config = save(features=["a", "b", "c"])
    dataset, sequences = make(config, tmp_path)
    assert dataset.ref.facts == {
        "name": "npz", "classes": ["sit", "walk"], "steps": STEPS, "features": ["a", "b", "c"],
        "has_lengths": True, "columns": None, "train": 32, "test": 8,
    }  # fmt: skip
    splits = {name: open_split(sequences.path, name) for name in ("train", "validation", "test")}
    both = np.concatenate([split.x_NTI for split in splits.values()])
    assert both.dtype == np.float32 and isinstance(splits["train"].x_NTI, np.memmap)
    expected = padded(series()).astype(np.float32)
    assert sorted(map(bytes, both)) == sorted(map(bytes, expected))
    facts = sequences.ref.facts
    known = splits["train"].x_NTI.astype(np.float64)
    np.testing.assert_allclose(facts["series"]["means"], np.nanmean(known, axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(facts["series"]["deviations"], np.nanstd(known, axis=(0, 1)), rtol=1e-12)
    assert (facts["steps"], facts["features"]) == (STEPS, FEATURES)
    monkeypatch.setattr(arrays, "PIECE_BYTES", 900)
    again = make(config, tmp_path, store="other")
    assert [each.ref.digest for each in again] == [dataset.ref.digest, sequences.ref.digest]


def test_the_spec_of_a_net_has_what_scales_each_feature(save, tmp_path):
    facts = make(save(), tmp_path)[1].ref.facts
    spec = ModelSpec.of(facts, VariantConfig(name="gru"))
    assert spec.shape == (STEPS, FEATURES) and spec.has_lengths and spec.series.means[0] == pytest.approx(5, abs=1)
    unit = ModelSpec.of(facts, VariantConfig(name="gru", scaling="unit"))
    assert unit.series.means == (0, 0, 0) and unit.series.deviations == (1, 1, 1)
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    still = series()
    still[..., 1] = 4
    facts = make(save(x=still), tmp_path)[1].ref.facts
    with pytest.raises(DataError, match="feature 1 is 4 in all training series"):
        ModelSpec.of(facts, VariantConfig(name="gru"))


def test_series_of_one_length_have_no_lengths(save, tmp_path):
    assert make(save(lengths=None), tmp_path)[1].ref.facts["series"]["has_lengths"] is False


def test_the_recipe_follows_the_content_and_the_columns(save, tmp_path, table):
    config = save()
    moved = config.model_copy(update={"file": str(tmp_path / "moved.npz")})
    first = dataset_recipe(config)
    (tmp_path / "my series.npz").rename(tmp_path / "moved.npz")
    assert dataset_recipe(moved) == first
    assert dataset_recipe(save(y=LABELS_N[::-1])) != first
    rows = write_table(tmp_path, table)
    other = rows.model_copy(update={"columns": ColumnsConfig(features=("feature 0",))})
    assert dataset_recipe(rows) != dataset_recipe(other)


def test_large_numbers_keep_their_deviation():
    x_NTI = np.random.default_rng(0).normal(1e6, 0.5, (50, 20, 2)).astype(np.float32)
    found = feature_statistics(x_NTI)
    np.testing.assert_allclose(found.deviations, x_NTI.astype(np.float64).std(axis=(0, 1)), rtol=1e-9)


def test_a_plug_ins_series_are_checked_as_well(save, tmp_path):
    raw = load(save(), tmp_path)
    check_series(raw)
