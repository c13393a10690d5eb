"""YAML in all its oddities is read as plain values, or refused in words."""

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from rnnpipe.config import load_config, validate_file
from rnnpipe.config.reading import MAX_CONFIG_BYTES, parse_yaml, read_yaml
from rnnpipe.errors import ConfigError

LAUGHS = "\n".join(["a0: &a0 [ha, ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])
MERGED_LAUGHS = "\n".join(
    ["a0: &a0 {ha: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30))]
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("# nothing", "the file is empty"),
        ("- a list", "this is list"),
        ("just text", "this is str"),
        ("name: a\nname: b", "the key 'name' stands there twice"),
        ("data: {name: a, 'name': b}", "the key 'name' stands there twice"),
        ("data:\n\tname: mnist", "cannot start any token"),
        ("name: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("name: !mine x", "could not determine a constructor"),
        ("? [1, 2]\n: x", "unhashable key"),
        ("? {a: 1}\n: x", "unhashable key"),
        ("name: [1, 2", "expected ',' or ']'"),
        ("name: &a [*a]", "values, aliases counted"),
        ("name: *nothing", "undefined alias"),
        ("name: a\0b", "special characters are not allowed"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("name: 2020-13-45", "month must be in 1..12"),
        (f"name: {'9' * 5000}", "integer"),
        (f"name: {'[' * 5000}", "nested too deeply"),
        (LAUGHS, "values, aliases counted"),
        (MERGED_LAUGHS, "values, aliases counted"),
        (f"a: [{'1, ' * 21000}]", "values, aliases counted"),
        ("name: x  # " + "x" * MAX_CONFIG_BYTES, "larger than 64 KiB"),
    ],
)
def test_what_is_no_config_is_refused_in_words(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert reason in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("text", [LAUGHS, MERGED_LAUGHS], ids=["aliases", "merges"])
def test_a_billion_laughs_cost_little(text: str) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(ConfigError, match="aliases counted"):
        parse_yaml(text, "laughs")
    wall_s, (_, peak_bytes) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert wall_s < 1 and peak_bytes < 20e6


def test_aliases_and_merges_of_a_sane_size_are_copies(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("variants: [&gru {name: gru}, {<<: *gru, hidden_size: 64}, *gru]")
    with pytest.raises(ConfigError, match=r"variants.*stands there twice: gru"):
        load_config(path)
    config = load_config(path, ["variants.0.hidden_size=32"])
    assert [variant.label for variant in config.variants] == ["gru-32x2", "gru-64x2", "gru"]


def test_keys_that_are_no_text_are_unknown_keys(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("{variants: [{name: gru, 3: 4}], on: 1, null: 2, 2020-01-01: 3, data: {1.5: x}}")
    text = validate_file(path) or ""
    for key in ("True = 1", "None = 2", "2020-01-01 = 3", "data.1.5 = 'x'", "variants.0.3 = 4"):
        assert f"  {key}: unknown key" in text


def test_unicode_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "größe.yaml"
    path.write_bytes(
        b"\xef\xbb\xbf" + "data: {name: folder, folder: Bilder/größe 😀}\nvariants: [{name: gru}]".encode()
    )
    assert load_config(path).data.folder == "Bilder/größe 😀"


def test_a_path_that_is_no_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: größe".encode("latin-1"))
    for path, reason in [
        (tmp_path, "Is a directory"),
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path / "latin.yaml", "utf-8"),
        (Path("a\0b"), "null"),
        (Path(f"{os.sep}dev/zero"), "larger than"),
    ]:
        with pytest.raises(ConfigError, match=reason):
            read_yaml(path)
