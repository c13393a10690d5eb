"""What a wrong config says: every mistake at once, with field, value, reason and nearest valid name."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnpipe.config import PipelineConfig, load_config, validate_file
from rnnpipe.errors import ConfigError

GOOD: dict[str, Any] = {
    "name": "try",
    "data": {"name": "mnist", "mirrors": ["https://a.example/x"], "validation_fraction": 0.1, "limit": 100},
    "sequence": {"name": "rows", "scaling": "unit"},
    "variants": [{"name": "gru", "hidden_size": 8, "num_layers": 2, "dropout": 0.1}, {"name": "rnn"}],
    "seeds": [0, 1],
    "training": {"epochs": 2, "optimizer": "adamw", "weight_decay": 0.1, "early_stopping_patience": 2},
    "execution": {"device": "cuda:1", "threads": 2, "timeout_s": 60},
    "evaluation": {"batch_size": 10},
    "tracking": {"experiment": "mine", "tags": {"purpose": "paper", "try": 3}},
    "registry": {"register_model": False},
}

Explain = Callable[[str], list[str]]


@pytest.fixture
def explain(tmp_path: Path) -> Explain:
    """Return a function from a config's text to the lines that list its mistakes."""

    def mistakes(text: str) -> list[str]:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return (validate_file(path) or "").splitlines()

    return mistakes


def written(path: Path, values: Any) -> Path:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def with_value(location: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    values = copy.deepcopy(GOOD)
    target: Any = values
    for part in location[:-1]:
        target = target[part]
    target[location[-1]] = value
    return values


def test_the_good_config_is_good(tmp_path: Path) -> None:
    assert validate_file(written(tmp_path / "good.yaml", GOOD)) is None


def test_all_mistakes_are_listed_together_in_one_pass(explain: Explain) -> None:
    lines = explain("""
        data: {name: mnst, validation_fraction: 2, mirrors: [ftp://x, https://a.example], split_seed: -1}
        variants: [{name: gru, hidden_size: 0, num_layers: 1, dropout: 0.5}, {name: lstn}]
        seeds: [3, 3]
        training: {epochs: true, batch_size: 0, optimizer: adam, weight_decay: 0.1}
        sequnce: {name: rows}
    """)
    assert lines[0].endswith("config.yaml: 12 mistakes")
    assert set(lines[1:]) == {
        "  data.name = 'mnst': must be one of digits, mnist, fashion-mnist, kmnist, emnist-digits, folder,"
        " npz, parquet;"
        " did you mean mnist?",
        "  data.validation_fraction = 2: must be 0 to 0.5",
        "  data.mirrors.0 = 'ftp://x': must be an http or https URL, such as https://mirror.example/mnist",
        "  data.split_seed = -1: must be a whole number, 0 to 2147483647",
        "  variants.0.hidden_size = 0: must be a whole number, 1 to 8192",
        "  variants.0.dropout = 0.5: acts between layers, so it needs num_layers of at least 2",
        "  variants.1.name = 'lstn': must be one of single-neuron, basic, rnn-cell, image-rnn, rnn, gru, lstm,"
        " min-gru, min-lstm; did you mean lstm?",
        "  seeds = [3, 3]: the same seed stands there twice: 3",
        "  training.epochs = true: must be a whole number, 1 to 10000",
        "  training.batch_size = 0: must be a whole number, 1 to 65536",
        "  training.weight_decay = 0.1: adam has none here; use `optimizer: adamw`",
        "  sequnce = {'name': 'rows'}: unknown key; did you mean sequence?",
    }


def test_every_clash_of_a_section_is_listed(explain: Explain) -> None:
    lines = explain("""
        data: {name: digits, folder: x, image_size: [8, 8], validation_fraction: 0}
        variants:
          - {name: single-neuron, bidirectional: true, dropout: 0.5, num_layers: 2, hidden_size: 3}
          - {name: min-gru, truncated_steps: 3}
          - {name: gru, truncated_steps: 3, bidirectional: true}
        training: {early_stopping_patience: 3}
        execution: {threads: auto, processes: 2, device: "cuda:1"}
    """)
    fields = [line.split(" = ")[0].strip() for line in lines[1:]]
    assert fields == [
        "data.folder",
        "data.image_size",
        "variants.0.bidirectional",
        "variants.0.dropout",
        "variants.0.num_layers",
        "variants.0.hidden_size",
        "variants.1.truncated_steps",
        "variants.2.truncated_steps",
        "execution.threads",
        "execution.device",
        "training.early_stopping_patience",
    ]


@pytest.mark.parametrize(
    ("execution", "field", "reason"),
    [
        ({"threads": 4, "ray": {"cpus": 2}}, "ray.cpus = 2", "4 threads on a node need as many CPUs"),
        ({"threads": "auto"}, "threads = 'auto'", "Ray has to know the CPUs before anything is measured"),
        ({"device": "cuda:1", "ray": {"gpus": 1}}, "device = 'cuda:1'", "with `engine: ray` use `device: cuda`"),
        ({"device": "cuda"}, "ray.gpus = 0.0", "needs a GPU, or a share of one; set it above 0"),
        ({"device": "cpu", "ray": {"gpus": 0.5}}, "ray.gpus = 0.5", "would leave Ray's GPU unused"),
    ],
)
def test_what_ray_can_not_do_is_a_clash_with_ray_alone(
    tmp_path: Path, execution: dict[str, Any], field: str, reason: str
) -> None:
    values = {"variants": [{"name": "gru"}], "execution": execution}
    assert validate_file(written(tmp_path / "local.yaml", values)) is None
    execution = {**execution, "engine": "ray"}
    text = validate_file(written(tmp_path / "ray.yaml", {**values, "execution": execution}))
    assert text is not None and "1 mistake" in text and f"execution.{field}" in text and reason in text


def test_what_series_need_and_can_not_have_is_listed(explain: Explain) -> None:
    lines = explain("{data: {name: npz, columns: {}, colour: rgb}, variants: [{name: gru}]}")
    assert lines[1:] == [
        "  data.file = null: `name: npz` needs the path of your series here",
        "  data.columns = {}: only for `name: parquet`, not for npz",
        "  data.colour = 'rgb': only for `name: folder`, not for npz",
    ]
    series = "data: {name: npz, file: x.npz}, variants: [{name: gru}]"
    assert explain(f"{{{series}, training: {{shift_pixels: 2}}}}")[1:] == [
        "  sequence.name = 'rows': reads images, and npz holds series; choose one of as-is",
        "  training.shift_pixels = 2: is for images, and npz holds series; set it to 0",
    ]
    (line,) = explain("{sequence: {name: as-is}, variants: [{name: gru}]}")[1:]
    assert "reads series, and digits holds images; choose one of rows, columns" in line
    (line,) = explain("{data: {name: parquet, file: x, columns: {time: series}}, variants: [{name: gru}]}")[1:]
    assert "the same column stands for two things: series" in line


def test_no_clash_is_made_up_from_a_value_that_is_wrong_itself(explain: Explain) -> None:
    lines = explain(
        "{data: {name: foldr, folder: x}, variants: [{name: gru}], training: {optimizer: sgdd, weight_decay: 1}}"
    )
    assert [line.split(" = ")[0].strip() for line in lines[1:]] == ["data.name", "training.optimizer"]


def test_variants_that_are_all_wrong_are_not_called_too_few(explain: Explain) -> None:
    lines = explain("variants: [{name: gruu}, {name: gru, layers: 2}]")
    assert len(lines) == 3 and not any("list" in line for line in lines)
    (line,) = explain("variants: []")[1:]
    assert line == "  variants = []: must be a list of 1 to 64, each a mapping of fields"


@pytest.mark.parametrize(
    ("location", "value", "line"),
    [
        (("name",), True, "name = true: must be up to 63 lower-case letters"),
        (("name",), "Ü b", "name = 'Ü b': must be up to 63 lower-case letters"),
        (("data", "folder"), "a\0b", "data.folder = 'a\\x00b': must be the path of a folder"),
        (("data", "folder"), "", "data.folder = '': must be the path of a folder"),
        (("data", "file"), " ", "data.file = ' ': must be the path of a file"),
        (("data", "colour"), "RGB", "data.colour = 'RGB': must be one of grey, rgb, or null"),
        (("data", "columns"), {"id": "x"}, "data.columns.id = 'x': unknown key"),
        (("data", "mirrors"), ["ftp://me:secret@a"], "data.mirrors.0 = 'ftp://***@a': must be an http"),
        (("data", "mirrors"), ["http://me:secret@a"], "data.mirrors.0 = 'http://***@a': holds a password"),
        (("tracking", "uri"), "http://me:secret@a", "tracking.uri = 'http://***@a': holds a password"),
        (("tracking", "tags"), ["a"], "tracking.tags = ['a']: must be a mapping of names to texts"),
        (("tracking", "tags"), {"A b": "c"}, "tracking.tags.A b: must be up to 63 lower-case"),
        (("tracking", "tags"), {"a": ["b"]}, "tracking.tags.a = ['b']: must be text of at most 250 characters"),
        (("tracking", "tags"), {"mlflow.note": "b"}, "mlflow.note: such names belong to mlflow; choose another"),
        (("data", "mirrors"), ["http://"], "data.mirrors.0 = 'http://': must be an http or https URL"),
        (("data", "mirrors"), ["http://a b"], "data.mirrors.0 = 'http://a b': must be an http or https URL"),
        (("data", "mirrors"), ["http://[1"], "data.mirrors.0 = 'http://[1': must be an http or https URL"),
        (("data", "mirrors"), "http://a", "data.mirrors = 'http://a': must be a list"),
        (("data", "image_size"), [8], "data.image_size.1: is missing; it must be a whole number, 4 to 512"),
        (("data", "image_size"), [8, 9, 1], "data.image_size = [8, 9, 1]: must be a list of 2, each a whole"),
        (("data", "limit"), 3, "data.limit = 3: must be a whole number, 20 to 1000000000, or null"),
        (("data", "validation_fraction"), math.nan, "data.validation_fraction = nan: must be 0 to 0.5"),
        (("data", "validation_fraction"), "much", "data.validation_fraction = 'much': must be 0 to 0.5"),
        (("sequence",), None, "sequence = null: must be a mapping of fields; leave it out"),
        (("sequence", "scaling"), "standart", "must be one of unit, standard; did you mean standard?"),
        (("seeds",), [True], "seeds = [True]: must be a list of 1 to 64, each a whole number"),
        (("seeds",), 0, "seeds = 0: a number of seeds is 1 to 64"),
        (("seeds",), 65, "seeds = 65: a number of seeds is 1 to 64"),
        (("variants", 0), None, "variants.0 = null: must be a mapping of fields"),
        (("variants", 0, "dropout"), 1, "variants.0.dropout = 1: must be 0 to below 1"),
        (("training", "epochs"), 2.5, "training.epochs = 2.5: must be a whole number, 1 to 10000"),
        (("training", "learning_rate"), 1e308, "training.learning_rate = 1e+308: must be above 0, at most 10"),
        (("training", "learning_rate"), math.inf, "training.learning_rate = inf: must be above 0, at most 10"),
        (("training", "learning_rate"), False, "training.learning_rate = false: must be above 0, at most 10"),
        (("training", "label_smoothing"), 1, "training.label_smoothing = 1: must be 0 to below 1"),
        (("training", "shift_pixels"), 1.5, "training.shift_pixels = 1.5: must be a whole number, 0 to 64"),
        (("training", "shift_pixels"), -1, "training.shift_pixels = -1: must be a whole number, 0 to 64"),
        (("training", "rotation_degrees"), 46, "training.rotation_degrees = 46: must be 0 to 45"),
        (("training", "zoom_fraction"), 0.6, "training.zoom_fraction = 0.6: must be 0 to 0.5"),
        (("training", "rotation"), 5, "training.rotation = 5: unknown key; did you mean rotation_degrees?"),
        (("training", "preflight"), "maybe", "training.preflight = 'maybe': must be true or false"),
        (("training", "batch_size"), 10**60, "must be a whole number, 1 to 65536"),
        (("execution", "device"), "gpu", "execution.device = 'gpu': must be auto, cpu, cuda, xpu, mps"),
        (("execution", "processes"), 65, "execution.processes = 65: must be a whole number, 1 to 64"),
        (("execution", "threads"), 0, "execution.threads = 0: must be a whole number, 1 to 1024, or auto"),
        (("execution", "threads"), 1025, "execution.threads = 1025: must be a whole number, 1 to 1024, or auto"),
        (("execution", "threads"), "all", "execution.threads = 'all': must be a whole number, 1 to 1024, or auto"),
        (("execution", "threads"), True, "execution.threads = true: must be a whole number, 1 to 1024, or auto"),
        (("execution", "threads"), None, "execution.threads = null: must be a whole number, 1 to 1024, or auto"),
        (("execution", "timeout"), 3, "execution.timeout = 3: unknown key; did you mean timeout_s?"),
        (("execution", "engine"), "dask", "execution.engine = 'dask': must be one of local, ray"),
        (("execution", "ray"), {"gpus": 2}, "execution.ray.gpus = 2: must be 0 to 1"),
        (("execution", "ray"), {"cpus": 0}, "execution.ray.cpus = 0: must be a whole number, 1 to 1024, or null"),
        (("execution", "ray"), {"memory": 1}, "execution.ray.memory = 1: unknown key; did you mean memory_gib?"),
        (("execution", "ray"), {"address": "h"}, "execution.ray.address = 'h': must be auto, HOST:PORT or ray://"),
        (("execution", "ray"), {"exchange": "a/b"}, "ray.exchange = 'a/b': must be an absolute path, a URL"),
        (("execution", "ray"), {"exchange": "s3://me:secret@a/b"}, "exchange = 's3://***@a/b': holds a password"),
        (("evaluation",), [1], "evaluation = [1]: must be a mapping of fields"),
    ],
)  # fmt: skip
def test_a_mistake_names_key_value_and_what_is_right(
    tmp_path: Path, location: tuple[str | int, ...], value: Any, line: str
) -> None:
    text = validate_file(written(tmp_path / "bad.yaml", with_value(location, value)))
    assert text is not None and line in text
    assert "Traceback" not in text and "pydantic" not in text and "Input should" not in text


def test_a_missing_variant_name_is_named(explain: Explain) -> None:
    assert explain("variants: [{hidden_size: 3}]")[1].startswith(
        "  variants.0.name: is missing; it must be one of"
    )
    assert (
        explain("name: x")[1] == "  variants: is missing; it must be a list of 1 to 64, each a mapping of fields"
    )


def test_a_number_without_end_is_shown_short(explain: Explain) -> None:
    assert explain(f"{{variants: [{{name: gru}}], seeds: [0x{'f' * 20000}]}}")[1] == (
        "  seeds.0 = a number too long to show: must be a whole number, 0 to 2147483647"
    )
    (line,) = explain(f"{{variants: [{{name: gru}}], name: {'x' * 20000}}}")[1:]
    assert len(line) < 300


def test_numbers_given_as_text_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("{variants: [{name: gru}], training: {learning_rate: 1e-3, epochs: '3'}}")
    assert isinstance(yaml.safe_load("1e-3"), str)
    training = load_config(path).training
    assert (training.learning_rate, training.epochs) == (0.001, 3)


def places(value: Any, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if not isinstance(value, dict | list):
        return [prefix]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    below = [place for key, child in items for place in places(child, (*prefix, key))]
    return [prefix, *below] if prefix else below


names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
odd = st.sampled_from(["1e-3", "auto", "folder", "gru", 10**400, -1, 0, 1e308, "~", "\0", "\ud7ff", "😀"])
scalars = st.one_of(
    odd,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(location=st.sampled_from(places(GOOD)), value=anything, new_name=st.none() | names)
def test_any_change_is_either_valid_or_named(
    tmp_path_factory: pytest.TempPathFactory, location: tuple[str | int, ...], value: Any, new_name: str | None
) -> None:
    if new_name is not None and isinstance(location[-1], str):
        location = (*location[:-1], new_name)
    path = written(tmp_path_factory.getbasetemp() / "mutated.yaml", with_value(location, value))
    try:
        assert isinstance(load_config(path), PipelineConfig)
    except ConfigError as error:
        # the field itself or, where it clashes with another field, a field of the same section
        # or the list in which it stands
        named = (".".join(map(str, location)), f"{location[0]}.", f"{location[0]} = ")
        assert any(f"  {name}" in str(error) for name in named)
        assert error.exit_code == 2 and "Input should" not in str(error)


def test_names_that_would_upset_a_terminal_are_escaped(explain: Explain) -> None:
    assert explain('{variants: [{name: gru}], "a\\n\\e[2J": 1}')[1] == "  a\\n\\x1b[2J = 1: unknown key"
