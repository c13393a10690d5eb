"""The code of plug-ins: called as it should be and checked, or told with its package and entry point."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnpipe import plugins
from rnnpipe.catalogue import DATASETS, SEQUENCES, VARIANTS, DatasetSpec, SequenceSpec, VariantSpec
from rnnpipe.config import DataConfig, SequenceConfig, VariantConfig
from rnnpipe.data.sequences import build_transform
from rnnpipe.data.stages import build_dataset, build_sequences, dataset_recipe, sequences_recipe
from rnnpipe.errors import ConfigError, DataError
from rnnpipe.models.classifier import build_classifier
from rnnpipe.plugins import call_code
from rnnpipe.references import StageRef
from rnnpipe.store import Store

ORIGIN = "the package things (entry point own in rnnpipe.test)"
CALLED = "can't be called with (input_size, config):"
CODE = """
from rnnpipe.errors import DataError

SIZE = 3

class Bare:
    def __init__(self, input_size, config):
        self.input_size = input_size

class Right(Bare):
    output_size = 1

def short():
    return None

def odd(input_size, config):
    raise ValueError("odd")

def full(input_size, config):
    raise OSError(28, "No space left on device")

def told(input_size, config):
    raise DataError("told")
"""


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package plugged_of_test, which is gone after the test."""
    folder = tmp_path / "site" / "plugged_of_test"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(CODE)
    (folder / "broken.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    plugins._digest.cache_clear()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "plugged_of_test"]:
        del sys.modules[name]


def net(target: str, origin: str = ORIGIN) -> VariantSpec:
    return VariantSpec("", target, "", hidden_size=2, origin=origin)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("plugged_of_test:Rihgt", "can't be imported: AttributeError: "),
        ("plugged_of_test.nets:Right", "can't be imported: ModuleNotFoundError: "),
        ("plugged_of_test.broken:X", "can't be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("plugged_of_test:short", f"{CALLED} TypeError: "),
        ("plugged_of_test:SIZE", f"{CALLED} TypeError: 'int' object is not callable"),
        ("plugged_of_test:odd", f"{CALLED} ValueError: odd (__init__.py, line 17)"),
        ("plugged_of_test:Bare", "gives a Bare without output_size"),
    ],
)
def test_code_that_can_t_be_used_is_told_with_its_package(plugged: Path, target: str, reason: str) -> None:
    with pytest.raises(ConfigError) as found:
        call_code(net(target), "variants.name own", 8, None)
    assert found.value.message.startswith(f"variants.name own: {target} of {ORIGIN} {reason}")
    assert found.value.fix


def test_what_code_makes_comes_back_and_what_it_tells_itself_passes(plugged: Path) -> None:
    assert call_code(net("plugged_of_test:Right"), "variants.name own", 8, None).input_size == 8
    for name, message in {"full": "No space left", "told": "told"}.items():
        with pytest.raises((OSError, DataError), match=message):
            call_code(net(f"plugged_of_test:{name}"), "variants.name own", 8, None)
    with pytest.raises(TypeError):  # a mistake of ours is one
        call_code(net("plugged_of_test:short", origin=""), "variants.name own", 8, None)


def test_each_kind_of_plug_in_is_told_by_the_field_that_names_it(
    plugged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "plugged_of_test:short"
    monkeypatch.setitem(VARIANTS, "own", net(target))
    monkeypatch.setitem(SEQUENCES, "own", SequenceSpec("", target, origin=ORIGIN))
    monkeypatch.setitem(DATASETS, "own", DatasetSpec("", target, has_test_split=False, origin=ORIGIN))
    expected = rf"\.name own: {target} of the package things .* can't be called with"
    with pytest.raises(ConfigError, match=f"^variants{expected}"):
        build_classifier(VariantConfig(name="own"), input_size=2, num_classes=2, seed=0)
    with pytest.raises(ConfigError, match=f"^sequence{expected}"):
        build_transform((8, 8), SequenceConfig(name="own"))
    with pytest.raises(ConfigError, match=f"^data{expected}"):
        build_dataset(DataConfig(name="own"), tmp_path, tmp_path)


def test_a_transform_of_a_plug_in_may_read_every_setting(plugged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEQUENCES, "own", SequenceSpec("", "plugged_of_test:Right", origin=ORIGIN))
    images = StageRef(stage="datasets", key="k" * 64, digest="d" * 64, facts={})
    keys = {
        sequences_recipe(images, DataConfig(), SequenceConfig.model_validate({"name": "own", **more})).key
        for more in ({}, {"patch_size": 2}, {"permutation_seed": 3}, {"scaling": "standard"})
    }
    assert len(keys) == 4
    ours = sequences_recipe(images, DataConfig(), SequenceConfig(patch_size=2))
    assert ours.inputs["sequence"] == {"name": "rows", "scaling": "unit"}


TRANSFORMS = """
from rnnpipe.data.sequences import SequenceTransform

class Whole(SequenceTransform):
    def __init__(self, image_size, config):
        super().__init__(steps=image_size[0], features=image_size[1])

class Half(Whole):
    def forward(self, images_NHW):
        return images_NHW[:, ::2]

class Unit(Whole):
    def forward(self, images_NHW):
        return images_NHW / 255
"""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Half", "gives the shape (1293, 4, 8), and (1293, 8, 8) is what it promised"),
        ("Unit", "gives pixels of the type float32, and uint8 from 0 to 255 is wanted"),
    ],
)
def test_a_transform_that_does_not_give_what_it_promised_is_told(
    plugged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    (plugged / "transforms.py").write_text(TRANSFORMS)
    target, data = f"plugged_of_test.transforms:{name}", DataConfig()
    monkeypatch.setitem(SEQUENCES, "own", SequenceSpec("", target, origin=ORIGIN))
    images = Store(tmp_path / "store").ensure(
        dataset_recipe(data), lambda folder: build_dataset(data, tmp_path, folder), "one"
    )
    with pytest.raises(DataError) as found:
        build_sequences(images, data, SequenceConfig(name="own"), tmp_path / "sequences")
    assert found.value.message == f"sequence.name own: {target} of {ORIGIN} {reason}" and found.value.fix
    assert not list((tmp_path / "sequences").iterdir())


IMAGES = """
from types import SimpleNamespace

import numpy as np

from rnnpipe.data.raw import RawDataset

class Lazy:
    shape = (40, 8, 8)

    def __init__(self, item_shape, dtype):
        self.made = item_shape, dtype

    def chunks(self, chosen):
        item_shape, dtype = self.made
        yield SimpleNamespace(pixels=np.zeros((len(chosen), *item_shape), dtype), mistakes=())

def raw(images, spec):
    return RawDataset(images, np.arange(40) % 2, None, None, spec.classes)

def floats(spec, config, downloads):
    return raw(np.random.default_rng(0).random((40, 8, 8)), spec)

def lazy_floats(spec, config, downloads):
    return raw(Lazy((8, 8), np.float32), spec)

def lazy_halves(spec, config, downloads):
    return raw(Lazy((4, 8), np.uint8), spec)
"""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("floats", "gives pixels of the type float64, and uint8 from 0 to 255 is wanted"),
        ("lazy_floats", "gives pixels of the type float32, and uint8 from 0 to 255 is wanted"),
        ("lazy_halves", "gives the shape (32, 4, 8), and (32, 8, 8) is what it promised"),
    ],
)
def test_images_that_are_no_bytes_are_told(
    plugged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    (plugged / "images.py").write_text(IMAGES)
    target = f"plugged_of_test.images:{name}"
    monkeypatch.setitem(DATASETS, "own", DatasetSpec("", target, ("a", "b"), has_test_split=False, origin=ORIGIN))
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError) as found:
        build_dataset(DataConfig(name="own"), tmp_path, tmp_path / "images")
    assert found.value.message == f"data.name own: {target} of {ORIGIN} {reason}" and found.value.fix
