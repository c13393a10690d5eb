"""The layers of ARCHITECTURE.md: who may import what."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("rnnpipe/**/*.py"), *ROOT.glob("flows/**/*.py")])
HOMES = {"mlflow": "rnnpipe/tracking/", "prefect": "flows/", "ray": "flows/"}


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def test_the_contracts_of_import_linter_are_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(("package", "home"), HOMES.items())
def test_a_framework_is_imported_in_one_place(package: str, home: str) -> None:
    users = [path.relative_to(ROOT).as_posix() for path in SOURCES if package in packages(path)]
    assert users
    assert not [user for user in users if not user.startswith(home)]


def test_flows_import_neither_torch_nor_mlflow() -> None:
    flows = [path for path in SOURCES if path.is_relative_to(ROOT / "flows")]
    assert len(flows) > 3
    assert not [path.name for path in flows if packages(path) & {"torch", "torchvision", "mlflow"}]


@pytest.mark.parametrize(
    ("module", "kept_out"),
    [
        ("rnnpipe.cli", {"torch", "mlflow", "prefect", "numpy", "sklearn"}),
        ("rnnpipe.store, rnnpipe.processes.launcher, rnnpipe.processes.service", {"torch", "mlflow", "prefect"}),
        ("rnnpipe.training.job, rnnpipe.evaluation.job, rnnpipe.data.stages", {"torch", "mlflow", "prefect"}),
        ("rnnpipe.nodes", {"torch", "mlflow", "prefect", "ray", "fsspec"}),
        (
            "flows.pipeline, flows.retrain",
            {"torch", "torchvision", "matplotlib", "sklearn", "ray", "optuna"},
        ),  # the fork server brings them
    ],
)
def test_importing_takes_nothing_heavy_along(module: str, kept_out: set[str]) -> None:
    code = f"import sys, {module}; print({{name.partition('.')[0] for name in sys.modules}} & {kept_out})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"
