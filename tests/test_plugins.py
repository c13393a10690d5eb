"""What other packages register: it is used, or the reason is told to whoever names it."""

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from rnnpipe import plugins
from rnnpipe.errors import ConfigError
from rnnpipe.plugins import Registered, add_plugins, code_of

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "plugin"


@dataclass(frozen=True)
class Thing(Registered):
    """What the plug-ins here register."""

    number: int = 0
    build: str = "things_of_test:make"


def install(site: Path, package: str, points: dict[str, dict[str, str]]) -> None:
    """Write what pip writes of a package that registers these entry points."""
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in each.items()) for group, each in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, with a module things that has several."""
    (tmp_path / "things_of_test.py").write_text(
        f"from {__name__} import Thing\nONE, TWO, TEXT = Thing(1), Thing(2), 'three'\n"
        "ASTRAY = Thing(3, 'no_such_package_of_test.nets:A')\n"
    )
    (tmp_path / "broken_of_test.py").write_text("import no_such_module\n")
    (tmp_path / "exiting_of_test.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._digest.cache_clear()  # other tests have packages of the same names
    return tmp_path


def test_what_is_registered_is_there(site: Path) -> None:
    install(site, "things", {"rnnpipe.test": {"one": "things_of_test:ONE", "two": "things_of_test:TWO"}})
    known = {"own": Thing()}
    assert add_plugins(entry_points(group="rnnpipe.test"), known, Thing) == {}
    assert [(name, thing.number) for name, thing in known.items()] == [("own", 0), ("one", 1), ("two", 2)]
    assert known["two"].origin == "the package things (entry point two in rnnpipe.test)"
    assert known["own"].origin == "" and known["two"] == Thing(2)


def test_a_name_that_two_have_belongs_to_neither(site: Path) -> None:
    install(site, "things", {"rnnpipe.test": {"own": "things_of_test:ONE", "both": "things_of_test:ONE"}})
    install(site, "others", {"rnnpipe.test": {"both": "things_of_test:TWO"}})
    problems = add_plugins(entry_points(group="rnnpipe.test"), {"own": Thing()}, Thing)
    assert set(problems) == {"own", "both"}
    assert "both rnnpipe itself and the package things have one of this name" in problems["own"]
    assert "both the package others and the package things" in problems["both"] and "rename it" in problems["both"]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("x", "broken_of_test:X", "can't be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x", "exiting_of_test:X", "can't be imported: SystemExit: 3"),
        ("x", "things_of_test:NONE", "can't be imported: AttributeError"),
        ("x", "things_of_test:TEXT", "things_of_test:TEXT is a str, not a Thing"),
        ("x", "things_of_test:ASTRAY", "no package 'no_such_package_of_test' is installed"),
        ("X Y", "things_of_test:ONE", "a name is lower-case letters, digits and dashes"),
    ],
)
def test_what_can_t_be_used_is_told(site: Path, name: str, value: str, reason: str) -> None:
    install(site, "faulty", {"rnnpipe.test": {name: value}})
    known = {"own": Thing()}
    problem = add_plugins(entry_points(group="rnnpipe.test"), known, Thing)[name]
    assert reason in problem and problem.startswith("the package faulty registers it, but") and len(known) == 1


@pytest.mark.parametrize("name", ["nets.py", "data/values.npz"])
def test_a_plug_in_s_files_are_part_of_what_depends_on_it(site: Path, name: str) -> None:
    package = site / "coded_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "data").mkdir()
    (package / name).write_text("a = 1")
    ours, foreign = Thing(build="rnnpipe.models.layers:Gru"), Thing(build="coded_of_test.nets:A")
    assert code_of(ours) == {}
    before = code_of(foreign, ours)
    assert list(before["plugin"]) == ["coded_of_test"]
    (package / name).write_text("a = 2")
    plugins._digest.cache_clear()
    assert code_of(foreign) != before


def test_a_package_that_is_gone_is_named_with_its_entry_point() -> None:
    with pytest.raises(ConfigError, match="isn't installed any more") as found:
        code_of(Thing(build="no_such_package_of_test.nets:A", origin="the package x (entry point y in z)"))
    assert found.value.message.startswith("no_such_package_of_test.nets:A of the package x (entry point y in z)")
    assert found.value.fix.startswith("install no_such_package_of_test again")


def run(site: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run Python where the packages in `site` are installed."""
    paths = map(str, (site, EXAMPLE / "src", ROOT))
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=site, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RNNPIPE_HOME": str(site / "home")},
    )  # fmt: skip


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A folder in which the example is installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(tmp_path, project["name"], project["entry-points"])
    return tmp_path


def test_the_example_passes_its_own_tests(example: Path) -> None:
    done = run(example, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, EXAMPLE / "tests")
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


def test_configs_and_lists_know_it(example: Path) -> None:
    install(example, "clash", {"rnnpipe.variants": {"gru": "rnnpipe_example:MGU"}})
    listed = run(example, "-m", "rnnpipe", "variants")
    assert "mgu" in listed.stdout and "the variant gru can't be used: both rnnpipe itself and" in listed.stderr
    refused = run(example, "-m", "rnnpipe", "validate", EXAMPLE / "bars.yaml")
    assert refused.returncode == 2 and "variants.1.name" in refused.stderr and "clash" in refused.stderr
    path = example / "own.yaml"
    path.write_text((EXAMPLE / "bars.yaml").read_text().partition("  - name: gru")[0])
    valid = run(example, "-m", "rnnpipe", "validate", path)
    assert valid.returncode == 0, valid.stderr


@pytest.mark.slow
def test_its_config_runs_to_a_champion_that_needs_neither(example: Path) -> None:
    done = run(example, "-m", "rnnpipe", "run", EXAMPLE / "bars.yaml")
    assert done.returncode == 0 and "PROMOTE" in done.stdout and "mgu" in done.stdout, done.stdout + done.stderr
    code = (
        "import sys; sys.modules['rnnpipe'] = sys.modules['rnnpipe_example'] = None\n"
        "import mlflow, numpy\n"
        f"mlflow.set_tracking_uri('sqlite:///{example / 'home' / 'mlflow.db'}')\n"
        "model = mlflow.pyfunc.load_model('models:/bars-zigzag@champion', model_config={'device': 'cpu'})\n"
        "print(model.predict(numpy.zeros((3, 8, 8), numpy.float32)).shape)"
    )
    asked = run(example, "-c", code)
    assert asked.stdout.strip() == "(3, 2)", asked.stderr
