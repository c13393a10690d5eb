"""Which version is shown or served where none is named, and which nets read beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_models import FACTS

from rnnpipe.cli.opening import find_version
from rnnpipe.config import SequenceConfig, VariantConfig
from rnnpipe.errors import ConfigError
from rnnpipe.evaluation.deploy import build_network, save_model
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.references import Recipe
from rnnpipe.serving.readers import MAX_OTHERS, readers_of, steps_by_pixel
from rnnpipe.serving.samples import samples_of
from rnnpipe.store import Entry, Store
from rnnpipe.tracking import history, registry
from rnnpipe.tracking.history import RegisteredModel
from rnnpipe.tracking.registry import Version


def spec_of(hidden_size: int = 4, **facts: Any) -> ModelSpec:
    return ModelSpec.of({**FACTS, **facts}, VariantConfig(name="gru", hidden_size=hidden_size))


def training(
    store: Store, label: str, accuracy: float | None, sequences: str = "a", hidden_size: int = 4
) -> Entry:
    """Store a net as a training leaves it."""
    spec = spec_of(hidden_size)

    def build(folder: Path) -> dict[str, Any]:
        save_model(folder, spec, build_network(spec, 0))
        return {"variant": label, "seed": 0, "validation_accuracy": accuracy}

    inputs = {"sequences": sequences, "variant": label, "accuracy": accuracy}
    return store.ensure(Recipe(stage="trainings", inputs=inputs), build, "run")


def version_of(entry: Entry) -> Version:
    tags = {"rnnpipe.variant": entry.ref.facts["variant"], "rnnpipe.training_key": entry.ref.key}
    return Version("m", 3, "", "", tags, "")


@pytest.mark.parametrize(
    ("models", "found"),
    [({}, "no model is registered yet"), ({"a": {}}, "no model is registered"), ({"a": {"champion": 1}}, None),
     ({"a": {"champion": 1}, "b": {}}, None), ({"a": {"champion": 1}, "b": {"champion": 2}}, "several .*: a, b")],
)  # fmt: skip
def test_the_only_champion_needs_no_name(
    monkeypatch: pytest.MonkeyPatch, models: dict[str, dict[str, int]], found: str | None
) -> None:
    listed = [RegisteredModel(name, (), aliases, {}, "") for name, aliases in models.items()]
    monkeypatch.setattr(history, "read_models", lambda tracking: listed)
    monkeypatch.setattr(registry, "resolve_model_uri", lambda tracking, text: text)
    assert find_version(None, "named") == "named"
    if found is None:
        assert find_version(None, None) == "a"
    else:
        with pytest.raises(ConfigError, match=found):
            find_version(None, None)


def test_the_best_of_each_other_variant_reads_beside_the_champion(tmp_path: Path) -> None:
    store = Store(tmp_path)
    champion = training(store, "gru", 0.9)
    for label, accuracy in (("gru", 0.99), ("lstm", 0.5), ("lstm", 0.7), ("rnn", 0.8), ("rnn", None)):
        training(store, label, accuracy)
    training(store, "elsewhere", 0.99, sequences="other images")
    damaged = training(store, "damaged", 0.95)
    (damaged.path / "weights.safetensors").write_bytes(b"")
    readers = readers_of(version_of(champion), champion.path, Store(tmp_path))
    assert [(each.title, each.what) for each in readers] == [
        ("gru", "registered as models:/m/3"),
        ("rnn", "stored training: seed 0, 80.00 % of the validation images right"),
        ("lstm", "stored training: seed 0, 70.00 % of the validation images right"),
    ]


def test_a_champion_from_elsewhere_reads_alone_and_many_variants_are_cut(tmp_path: Path) -> None:
    store = Store(tmp_path)
    champion = training(store, "gru", 0.9)
    for number in range(MAX_OTHERS + 3):
        training(store, f"v{number}", number / 100)
    assert len(readers_of(version_of(champion), champion.path, store)) == 1 + MAX_OTHERS
    alone = readers_of(Version("m", 3, "", "", {}, ""), champion.path, store)
    assert [each.title for each in alone] == [spec_of().variant.label]


@pytest.mark.parametrize(
    ("sequence", "steps", "features"),
    [("rows", 28, 28), ("columns", 28, 28), ("permuted", 784, 1), ("patches", 16, 49)],
)  # fmt: skip
def test_what_has_been_read_is_known_for_each_pixel(sequence: str, steps: int, features: int) -> None:
    config = SequenceConfig.model_validate({"name": sequence})
    spec = spec_of(sequence=config.model_dump(mode="json"), steps=steps, features=features)
    found = np.array(steps_by_pixel(spec)).reshape(28, 28)
    assert sorted(found.ravel()) == sorted(list(range(1, steps + 1)) * features)
    if sequence == "rows":
        assert (found == np.arange(1, 29)[:, None]).all()
    if sequence == "columns":
        assert (found == np.arange(1, 29)[None]).all()
    if sequence == "patches":
        assert (found[:7, :7] == 1).all() and (found[:7, 7:14] == 2).all() and (found[7:14, :7] == 5).all()


def test_without_the_dataset_there_are_no_samples(tmp_path: Path) -> None:
    assert samples_of(spec_of(), Store(tmp_path)) == []
