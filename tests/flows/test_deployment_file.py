"""The file of deployments: what is shipped is right, and what is wrong is told, all of it, in words."""

import copy
import inspect
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from workspaces import ROOT

from flows.deployment_file import DeploymentFile, check_deployments, load_deployments
from flows.parameters import FLOWS
from rnnpipe.catalogue import load_target
from rnnpipe.config import PipelineConfig, load_config
from rnnpipe.errors import ConfigError

SHIPPED = ROOT / "prefect.yaml"
UNIT = ROOT / "docs" / "rnnpipe-worker.service"


def values_of(text: str) -> dict[str, Any]:
    """Return the content of YAML; anchors are copied, so that a change is one."""
    values: dict[str, Any] = copy.deepcopy(yaml.safe_load(text))
    return yaml.safe_load(yaml.dump(values, Dumper=_NoAliases))


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@pytest.fixture
def values() -> dict[str, Any]:
    return values_of(SHIPPED.read_text(encoding="utf-8"))


def test_the_shipped_file_holds_the_four_deployments() -> None:
    file = load_deployments(SHIPPED)
    found = {deployment.name: deployment for deployment in file.deployments}
    assert set(found) == {"pipeline", "retrain-nightly", "retrain-on-new-data", "demos"}
    (nightly,) = found["retrain-nightly"].schedules
    assert nightly.slug and nightly.cron and nightly.timezone == "Europe/Berlin"
    (new_data,) = found["retrain-on-new-data"].triggers
    parameters = found["retrain-on-new-data"].parameters
    assert new_data.match["prefect.resource.id"] == f"rnnpipe.dataset.{parameters['data']['name']}"
    quickstart = load_config(ROOT / "configs" / "quickstart.yaml")
    for name in set(found) - {"demos"}:
        assert PipelineConfig.model_validate(found[name].parameters) == quickstart


@pytest.mark.parametrize("entrypoint", FLOWS)
def test_a_flow_takes_what_its_parameters_are_checked_by(entrypoint: str) -> None:
    module, _, name = entrypoint.rpartition(".")
    flow = load_target(f"{module}:{name}")
    assert set(inspect.signature(flow.fn).parameters) == set(FLOWS[entrypoint].model_fields)


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_the_commented_work_pools_are_right(kind: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    (commented,) = re.findall(rf"^# >>> {kind}\n(.*?)^# <<<$", text, re.DOTALL | re.MULTILINE)
    (pool,) = re.findall(r"^  work_pool: &work_pool\n(?:    .*\n)+", text, re.MULTILINE)
    instead = "".join(line.removeprefix("# ") for line in commented.splitlines(keepends=True))
    file = check_deployments(values_of(text.replace(pool, instead)), kind)
    assert {deployment.work_pool.type for deployment in file.deployments} == {kind}


def test_a_trigger_on_other_images_than_those_trained_on_is_a_mistake(values: dict[str, Any]) -> None:
    new_data = values["deployments"][2]
    new_data["parameters"]["data"]["name"] = "mnist"
    with pytest.raises(ConfigError, match=r"waits for rnnpipe\.dataset\.digits, the parameters train on mnist"):
        check_deployments(values, "prefect.yaml")
    new_data["triggers"][0]["match"]["prefect.resource.id"] = "rnnpipe.dataset.*"
    check_deployments(values, "prefect.yaml")
    new_data["triggers"][0]["expect"] = ["rnnpipe.dataset.update"]
    with pytest.raises(ConfigError, match=r"did you mean rnnpipe\.dataset\.updated\?"):
        check_deployments(values, "prefect.yaml")


def test_every_mistake_is_told_at_once(values: dict[str, Any]) -> None:
    pipeline, nightly, new_data, demos = values["deployments"]
    values["buld"] = []
    values["pull"] = [{"prefect.deployments.steps.git_clone": {}}]
    pipeline["concurency_limit"] = {"limit": 1}
    pipeline["entrypoint"] = "flows.pipeline.pipelin"
    nightly["schedules"][0] |= {"cron": "every night", "timezone": "Europe/Berlinn"}
    nightly["schedules"].append({"slug": "weekly", "parameters": {"force": 3}})
    nightly["parameters"]["training"]["epocs"] = 3
    new_data["work_pool"] = {"name": "elsewhere", "type": "docker", "job_variables": {"imge": "rnnpipe"}}
    new_data["triggers"][0]["match"] = {"prefect.resource.id": 5}
    demos["parameters"] = {"seed": -1}
    del demos["name"]
    with pytest.raises(ConfigError) as raised:
        check_deployments(values, "prefect.yaml")
    first, *lines = raised.value.message.splitlines()
    assert first == f"prefect.yaml: {len(lines)} mistakes"
    expected = [
        ("buld", "unknown key"),
        ("pull", "must be empty"),
        ("deployments.0.concurency_limit", "did you mean concurrency_limit?"),
        ("deployments.0.entrypoint", "did you mean flows.pipeline.pipeline?"),
        ("deployments.1.schedules.0.cron", "must be a cron line"),
        ("deployments.1.schedules.0.timezone", "did you mean Europe/Berlin?"),
        ("deployments.1.schedules.1.cron", "needs either cron or interval"),
        ("deployments.1.schedules.1.parameters.force", "true or false"),
        ("deployments.1.parameters.training.epocs", "did you mean epochs?"),
        ("deployments.2.work_pool.job_variables", "did you mean image?"),
        ("deployments.2.triggers.0.match", "must be texts"),
        ("deployments.3.parameters.seed", "a whole number"),
        ("deployments.3.name", "is missing"),
    ]
    assert len(lines) == len(expected)
    for place, reason in expected:
        assert [line for line in lines if line.strip().startswith((f"{place} ", f"{place}:")) and reason in line]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v["deployments"].append(v["deployments"][0]), "the same name stands there twice: pipeline"),
        (lambda v: v["deployments"][1]["schedules"].extend(v["deployments"][1]["schedules"]), "twice: nightly"),
        (lambda v: v["deployments"][0]["work_pool"].update(type="docker"), "rnnpipe is docker here and process"),
        (
            lambda v: v["deployments"][0]["work_pool"].update(
                job_variables={"env": {"PREFECT_API_AUTH_STRING": "a:b"}}
            ),
            "work_pool.name = 'rnnpipe': env.PREFECT_API_AUTH_STRING holds a password",
        ),
        (
            lambda v: v["deployments"][0]["work_pool"].update(
                job_variables={"env": {"A": "http://me:pass@a.example"}}
            ),
            "env.A holds a password",
        ),
        (lambda v: v["deployments"][0].update(parameters=[1]), "must be a mapping"),
        (lambda v: v.update(deployments=[]), "a list of 1 to 100"),
        (lambda v: v["deployments"][0].update(concurrency_limit={"limit": 0}), "1 to 1000"),
        (lambda v: v["deployments"][1]["schedules"][0].update(interval=60), "either cron or interval"),
    ],
)
def test_what_does_not_fit_together_is_told(values: dict[str, Any], change: Any, reason: str) -> None:
    change(values)
    with pytest.raises(ConfigError, match=re.escape(reason)):
        check_deployments(values, "prefect.yaml")


def test_every_field_is_described() -> None:
    """The file's schema can be shown to people: each field says what it is."""
    schema = DeploymentFile.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        assert all(field.get("description") for field in part["properties"].values()), part["title"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_the_service_is_one_that_systemd_understands(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/opt/rnnpipe/.venv/bin/rnnpipe worker", "/bin/true"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)  # noqa: S607
    assert (done.returncode, done.stderr) == (0, "")
