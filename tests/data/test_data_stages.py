"""Dataset and sequences through the store: same inputs, same bytes; splits that never share an image."""

import numpy as np
import pytest
import torch
from PIL import Image

from rnnpipe.config.data import DataConfig
from rnnpipe.config.sections import SequenceConfig, VariantConfig
from rnnpipe.data import arrays
from rnnpipe.data.splits import Splitter
from rnnpipe.data.stages import (
    SAMPLES,
    build_dataset,
    build_sequences,
    dataset_recipe,
    open_split,
    sequences_recipe,
)
from rnnpipe.errors import DataError
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.store import Store

EMBEDDED = ["digits"]  # datasets that need no download: a new one is added here


def make(tmp_path, data, sequence=None, store="store"):
    """Return the dataset's entry and the sequences' entry."""
    store, sequence = Store(tmp_path / store), sequence or SequenceConfig()
    downloads = tmp_path / "downloads"
    dataset = store.ensure(dataset_recipe(data), lambda folder: build_dataset(data, downloads, folder), "one")
    recipe = sequences_recipe(dataset.ref, data, sequence)
    return dataset, store.ensure(recipe, lambda folder: build_sequences(dataset, data, sequence, folder), "one")


def load(entry, name):
    return np.load(entry.path / f"{name}.npy", allow_pickle=False)


def counts(labels_N):
    return np.bincount(labels_N, minlength=10)


def test_digits_are_stored_with_their_facts_and_a_picture(tmp_path):
    from sklearn.datasets import load_digits

    dataset, _ = make(tmp_path, DataConfig())
    assert dataset.ref.facts == {
        "name": "digits", "classes": list("0123456789"), "image_size": [8, 8], "train": 1437, "test": 360,
    }  # fmt: skip
    stored = np.concatenate([load(dataset, "train_images"), load(dataset, "test_images")])
    expected = [[round(value * 255 / 16) for value in image.ravel()] for image in load_digits().images]
    assert sorted(stored.reshape(-1, 64).tolist()) == sorted(expected)
    with Image.open(dataset.path / SAMPLES) as picture:
        assert picture.format == "PNG"
        assert picture.width > 400


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_dataset_becomes_sequences(tmp_path, name):
    dataset, sequences = make(tmp_path, DataConfig(name=name))
    assert dataset.ref.facts["name"] == name
    for split in ("train", "validation", "test"):
        opened = open_split(sequences.path, split)
        assert opened.x_NTI.dtype == np.uint8
        assert opened.x_NTI.max() > opened.x_NTI.min()
        assert set(opened.y_N.tolist()) == set(range(len(dataset.ref.facts["classes"])))


def test_a_second_time_nothing_is_built(tmp_path):
    dataset, sequences = make(tmp_path, DataConfig())
    store = Store(tmp_path / "store")

    def never(folder):
        raise AssertionError

    assert store.ensure(dataset_recipe(DataConfig()), never, "two") == dataset
    recipe = sequences_recipe(dataset.ref, DataConfig(), SequenceConfig())
    assert store.ensure(recipe, never, "two") == sequences
    assert store.plan(recipe).sentence.startswith("skipped: same")


def test_built_anew_the_bytes_are_the_same(tmp_path):
    first, again = (make(tmp_path, DataConfig(limit=500), store=name) for name in ("one", "two"))
    assert [entry.ref for entry in first] == [entry.ref for entry in again]


def test_splits_are_disjoint_and_stratified(tmp_path):
    dataset, sequences = make(tmp_path, DataConfig(validation_fraction=0.2))
    splits = {name: open_split(sequences.path, name) for name in ("train", "validation", "test")}
    facts = sequences.ref.facts
    assert {name: len(split.y_N) for name, split in splits.items()} == {
        name: facts[name] for name in splits
    } == {"train": 1149, "validation": 288, "test": 360}  # fmt: skip
    both = np.concatenate([splits["train"].x_NTI, splits["validation"].x_NTI])
    assert sorted(both.tolist()) == sorted(load(dataset, "train_images").tolist())
    shares = [counts(split.y_N) / len(split.y_N) for split in splits.values()]
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    assert np.abs(shares[0] - shares[2]).max() < 0.01


def test_the_split_seed_chooses_the_images(tmp_path):
    by_seed = [load(make(tmp_path, DataConfig(split_seed=seed))[0], "test_images") for seed in (0, 1)]
    assert not np.array_equal(*by_seed)


def test_without_validation_there_are_no_validation_files(tmp_path):
    _, sequences = make(tmp_path, DataConfig(validation_fraction=0))
    assert open_split(sequences.path, "validation") is None
    assert sorted(path.name for path in sequences.path.glob("*.npy")) == [
        "test_x.npy", "test_y.npy", "train_x.npy", "train_y.npy",
    ]  # fmt: skip
    assert (sequences.ref.facts["train"], sequences.ref.facts["validation"]) == (1437, 0)


@pytest.mark.parametrize("limit", [200, 1430, 5000])
def test_the_limit_bounds_training_and_validation_together(limit, tmp_path):
    _, sequences = make(tmp_path, DataConfig(limit=limit))
    used = sequences.ref.facts["train"] + sequences.ref.facts["validation"]
    assert min(limit, 1427) <= used <= min(limit, 1437)
    assert counts(open_split(sequences.path, "validation").y_N).min() >= 1
    assert sequences.ref.facts["test"] == 360


@pytest.mark.parametrize("limit", [20, 50])
def test_a_limit_that_leaves_a_class_out_is_refused(limit, tmp_path):
    with pytest.raises(DataError, match=r"10 are needed") as caught:
        make(tmp_path, DataConfig(limit=limit))
    assert "data.limit" in caught.value.fix


def test_pixels_are_mapped_and_ready_for_torch(tmp_path):
    _, sequences = make(tmp_path, DataConfig(), SequenceConfig(name="columns"))
    split = open_split(sequences.path, "train")
    assert isinstance(split.x_NTI, np.memmap)
    assert (split.x_NTI.dtype, split.y_N.dtype) == (np.uint8, np.int64)
    assert torch.from_numpy(split.x_NTI).shape == (1293, 8, 8)
    split.x_NTI[:] = 0
    assert open_split(sequences.path, "train").x_NTI.any()


def test_scaling_is_of_the_training_split_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "PIECE_BYTES", 10_000)
    _, sequences = make(tmp_path, DataConfig(), SequenceConfig(name="patches", patch_size=4, scaling="standard"))
    pixels = open_split(sequences.path, "train").x_NTI / 255
    facts = sequences.ref.facts
    assert facts["mean"] == pytest.approx(pixels.mean(), rel=1e-12)
    assert facts["deviation"] == pytest.approx(pixels.std(), rel=1e-12)
    assert (facts["steps"], facts["features"]) == (4, 16)


@pytest.mark.parametrize(
    ("shared", "own", "is_scaled"),
    [("unit", None, False), ("standard", None, True), ("unit", "standard", True), ("standard", "unit", False)],
)
def test_a_variants_own_scaling_comes_before_the_sequences(tmp_path, shared, own, is_scaled):
    facts = make(tmp_path, DataConfig(), SequenceConfig(scaling=shared))[1].ref.facts
    spec = ModelSpec.of(facts, VariantConfig(name="gru", scaling=own))
    expected = (facts["mean"], facts["deviation"]) if is_scaled else (0, 1)
    assert (spec.mean, spec.deviation) == expected and facts["mean"] > 0


def test_recipes_hold_what_matters_and_nothing_else(tmp_path):
    mirrored = DataConfig(name="mnist", mirrors=("http://a",), test_fraction=0.5, validation_fraction=0)
    assert dataset_recipe(mirrored) == dataset_recipe(DataConfig(name="mnist"))
    assert dataset_recipe(DataConfig(test_fraction=0.5)) != dataset_recipe(DataConfig())
    dataset = make(tmp_path, DataConfig())[0].ref

    def recipe(**fields):
        return sequences_recipe(dataset, DataConfig(), SequenceConfig(**fields))

    assert recipe(permutation_seed=3, patch_size=2) == recipe()
    assert recipe(name="permuted", permutation_seed=3) != recipe(name="permuted")
    assert recipe(name="patches", patch_size=2) != recipe(name="patches", patch_size=4)
    assert recipe(scaling="standard") != recipe()
    plan = Store(tmp_path / "store").plan(recipe(name="columns"))
    assert plan.sentence == "runs: sequence.name rows → columns"


def test_a_folder_goes_the_same_way(make_folder, tmp_path):
    config = DataConfig(name="folder", folder=str(make_folder({"$a": 20, "b": 30})), image_size=(8, 6))
    dataset, sequences = make(tmp_path, config, SequenceConfig(name="pixels"))
    assert dataset.ref.facts["classes"] == ["$a", "b"]
    assert sequences.ref.facts["image_size"] == [8, 6]
    assert [sequences.ref.facts[name] for name in ("train", "validation", "test")] == [36, 4, 10]
    assert dataset_recipe(config) != dataset_recipe(config.model_copy(update={"image_size": (8, 8)}))


def test_a_class_with_too_few_images_is_named(make_folder, tmp_path):
    config = DataConfig(name="folder", folder=str(make_folder({"many": 40, "few": 2})))
    with pytest.raises(DataError, match=r"2 of 42 images are of the class few.* 5 are needed"):
        make(tmp_path, config)


def test_blank_images_cannot_be_standardised(make_folder, tmp_path):
    blank = {f"{place}.png": Image.new("L", (4, 4), 9) for place in range(20)}
    config = DataConfig(name="folder", folder=str(make_folder({"a": blank, "b": blank})))
    facts = make(tmp_path, config)[1].ref.facts
    assert ModelSpec.of(facts, VariantConfig(name="gru")).deviation == 1
    with pytest.raises(DataError, match="all training pixels are equal"):
        ModelSpec.of(facts, VariantConfig(name="gru", scaling="standard"))


@pytest.mark.parametrize("counts_K", [(10, 10, 10), (100, 13, 10), (500, 300, 10)])
def test_the_number_said_to_be_needed_is_enough(counts_K):
    labels_N = np.repeat(np.arange(3), counts_K)
    kept, held = Splitter("x", ("a", "b", "c"), 0).hold_out(labels_N, 0.1, "data.validation_fraction")
    assert counts(labels_N[held])[:3].min() >= 1
    assert sorted([*kept, *held]) == list(range(len(labels_N)))
