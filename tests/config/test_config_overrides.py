"""--set FIELD=VALUE: YAML values for any field, list items by number."""

from pathlib import Path
from typing import Any

import pytest

from rnnpipe.config import load_config
from rnnpipe.config.loading import apply_overrides
from rnnpipe.errors import ConfigError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("{variants: [{name: gru}, {name: lstm}], training:, seeds: [0]}")
    return path


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("name=mine", "name", "mine"),
        (" name = mine ", "name", "mine"),
        ("training.epochs=3", "training.epochs", 3),
        ("training.learning_rate=1e-3", "training.learning_rate", 0.001),
        ("training.gradient_clip_norm=null", "training.gradient_clip_norm", None),
        ("data.mirrors=['http://a.example/?x=1']", "data.mirrors", ("http://a.example/?x=1",)),
        ("data={name: mnist}", "data.name", "mnist"),
        ("seeds=[1, 2]", "seeds", (1, 2)),
        ("seeds.0=7", "seeds", (7,)),
        ("seeds=3", "seeds", (0, 1, 2)),
        ("execution.threads=2", "execution.threads", 2),
        ("execution.threads=auto", "execution.threads", "auto"),
    ],
)
def test_an_override_sets_a_field(config: Path, override: str, field: str, value: Any) -> None:
    overrides = [override] if override.startswith("training") else ["training={}", override]
    found: Any = load_config(config, overrides)
    for part in field.split("."):
        found = getattr(found, part)
    assert found == value


def test_overrides_reach_into_lists_and_the_last_one_counts(config: Path) -> None:
    loaded = load_config(config, ["training={}", "variants.1.hidden_size=8", "variants.1.hidden_size=16"])
    assert [variant.hidden_size for variant in loaded.variants] == [128, 16]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("training.epochs", "needs the form section.field=value"),
        ("=3", "needs the form section.field=value"),
        ("training..epochs=3", "needs the form section.field=value"),
        ("variants.2.dropout=0.1", "the list has the items 0 to 1, there is no 2"),
        ("variants.-1.dropout=0.1", "there is no -1"),
        ("variants.²=0.1", "there is no ²"),
        ("variants.first.dropout=0.1", "there is no first"),
        ("name.x=3", "name is a value, not a section"),
        ("seeds.0.x=3", "0 is a value, not a section"),
        ("training.epochs=[1", "not valid YAML"),
        ("training.epochs={a: 1, a: 2}", "stands there twice"),
    ],
)
def test_an_override_that_leads_nowhere_says_why(override: str, reason: str) -> None:
    values = {"name": "x", "variants": [{"name": "gru"}, {"name": "lstm"}], "seeds": [0]}
    with pytest.raises(ConfigError) as caught:
        apply_overrides(values, [override])
    assert f"--set {override}" in str(caught.value) and reason in str(caught.value)


def test_unknown_and_wrong_fields_are_listed_like_the_file_s(config: Path) -> None:
    overrides = ["training.epoch=3", "trainig.epochs=3", "data.validation_fraction=2", "seeds={}"]
    with pytest.raises(ConfigError) as caught:
        load_config(config, overrides)
    for line in (
        "training.epoch = 3: unknown key; did you mean epochs?",
        "trainig = {'epochs': 3}: unknown key; did you mean training?",
        "data.validation_fraction = 2: must be 0 to 0.5",
        "seeds = {}: must be a list",
    ):
        assert line in str(caught.value)


def test_an_empty_list_has_no_items() -> None:
    with pytest.raises(ConfigError, match="the list is empty, there is no 0"):
        apply_overrides({"seeds": []}, ["seeds.0=1"])
