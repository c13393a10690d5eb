"""Model cards: what they say, that they stay short, and that no class name breaks them."""

import dataclasses
from typing import Any

import pytest

from rnnpipe.config import VariantConfig
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.reporting.card import MAX_CHARACTERS, Model, model_card, net_of, version_card


def model_of(kept: Any, **changes: Any) -> Model:
    facts = kept.run()
    spec = ModelSpec.of(
        {
            "dataset": {"name": "shapes", "digest": facts.dataset.digest}, "image_size": [8, 8], "steps": 8,
            "features": 8, "classes": facts.dataset.facts["classes"], "sequence": {"name": "rows"}, "mean": 0.5,
            "deviation": 0.5,
        },
        facts.config.variants[0],
    )  # fmt: skip
    _, report = kept.evaluation("gru-8x1", 30)
    return Model(
        spec=changes.pop("spec", spec), candidate=facts.chosen, report=report, training=facts.best.training.facts,
        dataset=facts.dataset.facts, dataset_digest=facts.dataset.digest,
    )  # fmt: skip


def test_it_says_what_the_model_is_and_how_to_use_it(kept: Any) -> None:
    model = model_of(kept)
    card = version_card("models:/shapes/3", model)
    for part in (
        "### Model card", "`gru-8x1`, nn.GRU, one layer of 8; 12 weights", "8 steps of 8 values",
        f"SHA-256 `{model.dataset_digest}`", "epoch 2 of 2", "| accuracy | 90.00 % (95 % interval 86.08 %",
        "| latency | 0.5 ms an image", "weakest on class `circle`", "also to one that shows none of them",
        'mlflow.pyfunc.load_model("models:/shapes/3"', "rnnpipe predict models:/shapes/3 IMAGE",
        "rnnpipe serve-model models:/shapes/3", "mlflow.set_tracking_uri(", "rnnpipe reproduce models:/shapes/3",
    ):  # fmt: skip
        assert part in card, part
    assert "no validation images" not in card


def test_class_names_stay_text(kept: Any) -> None:
    assert "`<b>square</b>`, `cross / star'`" in version_card("models:/shapes/3", model_of(kept))


def test_it_stays_shorter_than_what_mlflow_keeps(kept: Any) -> None:
    model = model_of(kept)
    many = model.spec.model_copy(update={"classes": tuple(f"class {'x' * 200} {n}" for n in range(900))})
    card = version_card("models:/shapes/3", dataclasses.replace(model, spec=many))
    assert "and 888 more" in card and "rnnpipe reproduce" in card and len(card) <= MAX_CHARACTERS


def test_choices_made_on_test_images_are_told(kept: Any) -> None:
    model = model_of(kept)
    row = model.candidate.row.model_copy(update={"validation_accuracy": None})
    blind = dataclasses.replace(model, candidate=model.candidate.model_copy(update={"row": row}))
    assert "chosen on the test images" in version_card("models:/shapes/3", blind)


def test_a_registered_model_tells_of_its_champion() -> None:
    card = model_card("shapes", {"version": "3", "verdict": "PROMOTE: better | by far\n\nyes", "decided": ""})
    assert "| version | 3 |\n| verdict | PROMOTE: better / by far yes |" in card and "decided" not in card
    assert "models:/shapes@champion" in card
    assert "none yet" in model_card("shapes", None) and "rnnpipe champions shapes" in model_card("shapes", None)


@pytest.mark.parametrize(
    ("name", "sizes", "text"),
    [
        ("lstm", {"hidden_size": 64, "bidirectional": True}, "nn.LSTM, 2 layers of 64, in both directions"),
        ("single-neuron", {}, "one neuron, weights written by hand, one layer of 1"),
    ],
)
def test_a_net_is_told_with_its_own_sizes(name: str, sizes: dict[str, Any], text: str) -> None:
    assert net_of(VariantConfig(name=name, **sizes)) == text
