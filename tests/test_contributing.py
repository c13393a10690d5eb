"""The examples of CONTRIBUTING.md: each is tried, with nothing but its class, its dictionary line and its test."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnpipe import catalogue
from rnnpipe.config import DataConfig, SequenceConfig, VariantConfig
from tests.data import test_data_stages, test_sequences
from tests.models import test_variants

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(
    r"```python\n# (\S+)\.py\n(.*?)\n\n# rnnpipe/catalogue.py, in (\w+)\n(.*?)\n```", TEXT, re.DOTALL
)


@pytest.fixture
def add(monkeypatch):
    """Return what follows an example: puts its code into its module and its line into its dictionary."""

    def follow(registry):
        path, code, _, line = next(block for block in BLOCKS if block[2] == registry)
        module = importlib.import_module(path.replace("/", "."))
        names = dict(vars(module)) | {"np": np, "torch": torch}
        exec(code, names)  # noqa: S102 (it is our own document)
        entries = eval(f"{{{line}}}", dict(vars(catalogue)))  # noqa: S307
        for name, spec in entries.items():
            attribute = spec.load if registry == "DATASETS" else spec.build
            monkeypatch.setattr(
                module, attribute.partition(":")[2], names[attribute.partition(":")[2]], raising=False
            )
            monkeypatch.setitem(getattr(catalogue, registry), name, spec)
        return next(iter(entries))

    return follow


def test_there_is_an_example_of_each():
    assert sorted(block[2] for block in BLOCKS) == ["DATASETS", "SEQUENCES", "VARIANTS"]


def test_a_new_variant_learns_and_is_exported(add):
    name = add("VARIANTS")
    config = VariantConfig(name=name)
    assert config.hidden_size == 128
    test_variants.test_weights_start_as_torch_starts_them(name)
    test_variants.test_eight_sequences_are_learned_by_heart(name)
    test_variants.test_the_exported_graph_is_the_net_at_any_batch_size(config)


def test_a_new_transform_is_the_plain_numpy_one(add, monkeypatch):
    name = add("SEQUENCES")
    assert SequenceConfig(name=name).name == name
    monkeypatch.setitem(test_sequences.REFERENCES, name, lambda image: image[::-1])
    test_sequences.test_the_order_is_that_of_a_plain_loop(name)


def test_a_new_dataset_becomes_sequences(add, tmp_path):
    name = add("DATASETS")
    assert DataConfig(name=name).name == name
    test_data_stages.test_an_embedded_dataset_becomes_sequences(tmp_path, name)
