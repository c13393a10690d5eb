"""The configs that come with the project, and the schema by which editors complete them."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config import PipelineConfig, VariantConfig, load_config
from rnnpipe.config.fields import Section
from rnnpipe.config.schema import SCHEMA_FILE, schema_text

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.rglob("*.yaml"))


def sections(model: type[BaseModel] = PipelineConfig) -> list[type[BaseModel]]:
    return [model, *Section.__subclasses__()]


def test_there_are_configs() -> None:
    assert len(CONFIGS) >= 6


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_valid_and_says_how_to_use_it(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["# yaml-language-server: $schema=schema.json", f"# rnnpipe run configs/{path.name}"]
    assert load_config(path).name == path.stem
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_the_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run: python -m rnnpipe.config.schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize(
    "wrong", [{"variants": []}, {"variants": [{"name": "gru"}], "x": 1}, {"variants": [{"name": "x"}]}]
)
def test_the_schema_refuses_what_is_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, json.loads(schema_text()))


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_section_and_field_is_described(section: type[BaseModel]) -> None:
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description, f"{section.__name__}.{name}"
        assert field.description.endswith(".")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_has_the_sizes_of_its_tutorial(name: str) -> None:
    variant = VariantConfig(name=name)
    assert (variant.hidden_size, variant.num_layers) == (VARIANTS[name].hidden_size, VARIANTS[name].num_layers)
    assert variant.label == name


def test_the_tutorials_are_as_they_are_described() -> None:
    rows, image = (load_config(FOLDER / f"tutorial-{name}.yaml") for name in ("rows", "image-rnn"))
    assert [(v.name, v.hidden_size, v.num_layers) for v in rows.variants] == [
        ("rnn", 128, 2), ("gru", 128, 2), ("lstm", 128, 2),
    ]  # fmt: skip
    assert [(v.name, v.hidden_size, v.num_layers) for v in image.variants] == [("image-rnn", 150, 1)]
    assert (rows.training.batch_size, rows.training.epochs) == (100, 2)
    assert (image.training.batch_size, image.training.epochs) == (64, 10)
    for config in (rows, image):
        training = config.training
        assert (training.optimizer, training.learning_rate, training.schedule) == ("adam", 0.001, "constant")
        assert training.gradient_clip_norm is None and config.data.validation_fraction == 0


def test_checking_a_config_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from rnnpipe.config import validate_file;"
        f"assert validate_file(Path({str(CONFIGS[0])!r})) is None;"
        "heavy = {'torch', 'prefect', 'mlflow', 'numpy', 'sklearn'};"
        "print({name.partition('.')[0] for name in sys.modules} & heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
