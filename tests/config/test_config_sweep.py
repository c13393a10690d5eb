"""The section `sweep`: what it may name, what is said of what it may not, and the configs that come of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rnnpipe.config import PipelineConfig, load_config, validate_file
from rnnpipe.config.trials import best_config, bounds_of, check_sweep, overrides_of, sweep_mistakes, trial_config
from rnnpipe.errors import ConfigError

GRU = "variants: [{name: gru}]\n"
SWEEP = Path(__file__).parents[2] / "configs" / "sweep.yaml"

Explain = Callable[[str], list[str]]


@pytest.fixture
def explain(tmp_path: Path) -> Explain:
    """Return a function from the parameters of a sweep to the lines that list the mistakes."""

    def mistakes(parameters: str) -> list[str]:
        path = tmp_path / "config.yaml"
        path.write_text(f"{GRU}sweep: {{parameters: {{{parameters}}}}}", encoding="utf-8")
        return [
            line.strip().removeprefix("sweep.parameters.") for line in (validate_file(path) or "").splitlines()[1:]
        ]

    return mistakes


def config_with(**parameters: Any) -> PipelineConfig:
    """Return a config that tunes fields of training, given without their section."""
    space = {f"training.{name}": values for name, values in parameters.items()}
    return PipelineConfig.model_validate({"variants": [{"name": "gru"}], "sweep": {"parameters": space}})


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        (
            "training.learning_rat: {low: 1, high: 2}",
            "learning_rat = 1.0: unknown key; did you mean learning_rate?",
        ),
        ("training.learning_rate: {low: 1, high: 11}", "learning_rate = 11.0: must be above 0, at most 10"),
        ("training.learning_rate: {low: 2, high: 1}", "learning_rate.low = 2.0: has to be below high, which is 1"),
        ("training.learning_rate: {low: 0, high: 1, log: true}", "low = 0.0: has to be above 0 where log is true"),
        ("training.learning_rate: {low: 1}", "learning_rate.low = 1.0: needs low and high, or choices"),
        ("training.learning_rate: {}", "learning_rate.low = null: needs low and high, or choices"),
        (
            "training.momentum: {low: 0, high: 0.5, choices: [0]}",
            "choices = (0,): either choices, or low and high",
        ),
        ("training.learning_rate: {low: true, high: 2}", "low = true: must be 0 to 1000000000, or null"),
        ("training.batch_size: {low: 8, high: 64, step: 5}", "step = 5.0: has to divide the way from low to high"),
        ("training.batch_size: {low: 8, high: 9, step: 0.5}", "batch_size.step = 0.5: must be a whole number"),
        ("training.batch_size: {low: 1, high: 9, step: 2, log: true}", "leave out one of step and log"),
        ("training.epochs: {low: 2.5, high: 8}", "training.epochs = 2.5: must be a whole number, 1 to 10000"),
        ("training.optimizer: {low: 1, high: 2}", "give choices, each one of adam, adamw, sgd"),
        ("training.preflight: {low: 0, high: 1}", "has nothing between low and high; give choices, each true or"),
        ("training.optimizer: {choices: [sgdd]}", "training.optimizer = 'sgdd': must be one of adam, adamw, sgd"),
        ("training.optimizer: {choices: [[adam]]}", "choices.0 = ['adam']: must be a single value that the field"),
        ("training.optimizer: {choices: [adam, adam]}", "'adam' stands there twice"),
        ("training.optimizer: {choices: []}", "choices = []: must be a list of 1 to 100"),
        ("variants.0.hidden_size: {choices: [64, 0]}", "hidden_size = 0: must be a whole number, 1 to 8192"),
        ("data.split_seed: {low: 0, high: 9}", "data.split_seed: must be a field of training, sequence"),
        ("variants.1.hidden_size: {low: 1, high: 9}", "must be a field of training, sequence or variants.0"),
        (
            "variants.0.name: {choices: [gru, single-neuron]}, variants.0.num_layers: {choices: [1, 2]}",
            "num_layers = 2: single-neuron has one layer (with variants.0.name = 'single-neuron')",
        ),
        (
            "training.optimizer: {choices: [adam, sgd]}, training.weight_decay: {low: 0, high: 0.1}",
            "weight_decay = 0.1: adam has none here; use `optimizer: adamw` (with training.optimizer = 'adam')",
        ),
    ],
)
def test_a_mistake_names_field_value_and_fix(explain: Explain, parameters: str, line: str) -> None:
    lines = explain(parameters)
    assert any(line in each for each in lines), lines
    assert not any("Input should" in each or "pydantic" in each for each in lines)


def test_all_mistakes_are_told_at_once(explain: Explain) -> None:
    space = "training.epochs: {low: 0, high: 3}, training.momentum: {choices: [2]}, training.loss: {choices: [1]}"
    lines = explain(space)
    assert [line.split(" = ")[0] for line in lines] == ["training.epochs", "training.momentum", "training.loss"]


def test_values_that_fit_together_in_every_trial_are_right(explain: Explain) -> None:
    space = "training.optimizer: {choices: [adamw, sgd]}, training.weight_decay: {low: 0.01, high: 0.1}"
    assert explain(space) == [], "the config's own optimizer is adam, but no trial has it"
    assert explain("variants.0.name: {choices: [gru, single-neuron]}") == [], "each has its own sizes"
    assert (
        explain(
            "variants.0.bidirectional: {choices: [true, false]}, training.gradient_clip_norm: {choices: [null, 1]}"
        )
        == []
    )


def test_a_large_space_is_checked_in_time_and_whole() -> None:
    many = {"choices": list(range(1, 41))}
    right = config_with(
        epochs=many, batch_size=many, early_stopping_patience=many, shift_pixels={"low": 0, "high": 9}
    )
    assert sweep_mistakes(right) == []
    wrong = config_with(
        epochs=many, batch_size=many, early_stopping_patience=many, shift_pixels={"choices": [0, 65]}
    )
    assert sweep_mistakes(wrong) == [
        "sweep.parameters.training.shift_pixels = 65: must be a whole number, 0 to 64"
    ]


def test_a_sweep_wants_one_variant_and_validation_images(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "{variants: [{name: gru}, {name: rnn}], data: {validation_fraction: 0},"
        " sweep: {trials: 0, parameters: {training.epochs: {low: 1, high: 3}}}}"
    )
    told = validate_file(path) or ""
    assert "sweep.trials = 0: must be a whole number, 1 to 10000" in told
    told = validate_file(path, ["sweep.trials=3"]) or ""
    assert "tunes one variant, and here are several; leave one, and give variants.0.name as choices" in told
    assert "chooses on validation images, never on test images; set data.validation_fraction" in told


def test_a_config_without_a_sweep_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="no section `sweep`"):
        check_sweep(PipelineConfig.model_validate({"variants": [{"name": "gru"}]}))
    check_sweep(config_with(epochs={"low": 1, "high": 3}))


def test_whole_numbers_have_whole_bounds() -> None:
    config = config_with(epochs={"low": 1, "high": 3}, learning_rate={"low": 1, "high": 3})
    assert config.sweep is not None
    bounds = [bounds_of(path, each) for path, each in config.sweep.parameters.items()]
    assert [tuple(map(type, each)) for each in bounds] == [(int, int), (float, float)]


def test_a_trial_is_the_config_with_its_values() -> None:
    config = load_config(SWEEP)
    values = {"training.learning_rate": 0.01, "variants.0.name": "lstm", "variants.0.hidden_size": 16}
    trial = trial_config(config, values)
    assert trial.sweep is None and not trial.registry.register_model
    assert trial.experiment == "digits-rows-sweeps"
    assert (trial.variants[0].label, trial.training.learning_rate) == ("lstm-16x1", 0.01)
    assert trial.training.epochs == config.training.epochs and trial.data == config.data
    with pytest.raises(ConfigError, match="don't fit together"):
        trial_config(config, {"training.weight_decay": 0.1})


def test_another_variant_brings_its_own_sizes_unless_they_were_given() -> None:
    gru = config_with(epochs={"low": 1, "high": 3})
    assert trial_config(gru, {"variants.0.name": "image-rnn"}).variants[0].label == "image-rnn"
    sized = gru.model_copy(update={"variants": (gru.variants[0].model_copy(update={"hidden_size": 7}),)})
    assert trial_config(sized, {"variants.0.name": "lstm"}).variants[0].hidden_size == 7


def test_the_best_trial_s_config_can_be_run_and_set(tmp_path: Path) -> None:
    config = load_config(SWEEP)
    values = {"training.learning_rate": 1.25e-5, "training.schedule": "constant", "variants.0.hidden_size": 48,
              "variants.0.bidirectional": True, "training.gradient_clip_norm": None}  # fmt: skip
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump(best_config(config, values)), encoding="utf-8")
    best = load_config(path)
    assert best == load_config(SWEEP, [*overrides_of(values), "sweep=null"])
    assert (best.name, best.sweep, best.training.learning_rate) == ("sweep", None, 1.25e-5)
    assert best.variants[0].bidirectional and best.training.gradient_clip_norm is None
