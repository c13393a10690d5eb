"""What runs in containers is what runs without: compose's files and the image against the table of services."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack_helpers import NAMES, ROOT, compose

from flows.stack.health import MLFLOW_NAME
from flows.stack.places import VARIABLES, Places
from flows.stack.secret_files import SECRETS
from flows.stack.services import POSTGRES_READY, SERVICES, filled

DOCKER = ROOT / "docker"
OURS = set(SERVICES) - {"postgres"}
SERVERS = {name for name, service in SERVICES.items() if not service.ends}
FILE = compose()
IN_COMPOSE: dict[str, dict[str, Any]] = FILE["services"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")


def places_of(service: str) -> Places:
    named = {name: IN_COMPOSE[service]["environment"][variable] for name, variable in VARIABLES.items()}
    return Places(folder=Path("/data/stack"), secrets=Path(named.pop("secrets")), **named)


CONTAINERS = places_of("mlflow")
EVERYWHERE = "0.0.0.0"  # noqa: S104 (in the containers' own networks)


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "docker/Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", *sorted(DOCKER.glob("*.yaml"))],
    ],
    ids=lambda command: command[0],
)
def test_the_linters_find_nothing(command: list[object]) -> None:
    done = run(Path(sys.executable).with_name(str(command[0])), *command[1:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_check_would_see_a_mistake(tmp_path: Path) -> None:
    wrong = {**FILE, "services": {**IN_COMPOSE, "worker": {**IN_COMPOSE["worker"], "read_onyl": True}}}
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    program = Path(sys.executable).with_name("check-jsonschema")
    done = run(program, "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml")
    assert done.returncode == 1 and "read_onyl" in done.stdout


# ---- the same services


def test_compose_starts_the_services_of_the_table_and_looks_at_the_secrets_first() -> None:
    assert set(IN_COMPOSE) == {*SERVICES, "secrets"}
    first = IN_COMPOSE["secrets"]
    assert first["command"] == ["rnnpipe", "stack", "secrets", "--check", "/run/secrets"]
    assert set(first["secrets"]) == set(SECRETS) == set(FILE["secrets"])
    waiting = {name for name in IN_COMPOSE if "secrets" in ancestors(name)}
    assert waiting == set(SERVICES)


def ancestors(name: str) -> set[str]:
    before = set(IN_COMPOSE[name].get("depends_on", ()))
    return before.union(*(ancestors(each) for each in before))


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_container_becomes_the_service_of_its_name(name: str) -> None:
    service = IN_COMPOSE[name]
    assert service["command"] == ["rnnpipe", "stack", "service"] and "entrypoint" not in service
    assert service["environment"]["RNNPIPE_SERVICE"] == name
    assert service["environment"].keys() - {"RNNPIPE_SERVICE"} == set(VARIABLES.values())
    assert places_of(name) == CONTAINERS


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_it_has_the_secrets_and_waits_for_the_services_that_it_needs(name: str) -> None:
    service, known = IN_COMPOSE[name], SERVICES[name]
    needed = set(known.secrets.values())
    assert set(service["secrets"]) == needed
    conditions = {
        earlier: {"condition": f"service_{'completed_successfully' if SERVICES[earlier].ends else 'healthy'}"}
        for earlier in known.after
    }
    if name != "postgres":
        assert service["depends_on"] == conditions
    assert service["restart"] == ("no" if known.ends else "unless-stopped")
    assert known.ends or service["stop_grace_period"] == f"{known.patience_s}s"
    written = [volume for volume in service.get("volumes", ()) if not volume.endswith(":ro")]
    keeps = [volume for volume in written if volume.startswith(f"{name}:")]
    assert len(keeps) == len(written) == (name in SERVERS)


def test_services_find_each_other_under_their_names_and_listen_for_each_other() -> None:
    for name in NAMES:
        assert getattr(CONTAINERS, name).partition(":")[0] == name in IN_COMPOSE
    assert CONTAINERS.listen == EVERYWHERE and CONTAINERS.mlflow == MLFLOW_NAME
    for name in ("prefect", "mlflow"):
        command = [filled(part, CONTAINERS) for part in SERVICES[name].command]
        assert command[command.index("--host") + 1] == EVERYWHERE
        assert command[command.index("--port") + 1] == getattr(CONTAINERS, name).partition(":")[2]
        network = set(IN_COMPOSE[name]["networks"])
        assert network == {"databases", "default"}
    assert FILE["networks"]["databases"]["internal"]
    assert "databases" not in IN_COMPOSE["worker"].get("networks", ["default"])


def test_only_the_pages_are_published_and_on_loopback_only() -> None:
    published = {name: service["ports"] for name, service in IN_COMPOSE.items() if "ports" in service}
    assert published == {"prefect": ["127.0.0.1:4200:4200"], "mlflow": ["127.0.0.1:5000:5000"]}
    assert CONTAINERS.prefect_page == "http://127.0.0.1:4200"


def test_without_being_told_nothing_listens_beyond_loopback() -> None:
    places = Places(folder=Path("stack"), secrets=Path("secrets"))
    for service in SERVICES.values():
        told = [filled(text, places) for text in (*service.command, *service.settings.values())]
        addresses = re.findall(r"\d+\.\d+\.\d+\.\d+", " ".join(told))
        assert set(addresses) <= {"127.0.0.1"}


def test_what_is_healthy_is_asked_the_same_way() -> None:
    test = IN_COMPOSE["postgres"]["healthcheck"]["test"]
    assert test == ["CMD", *(filled(part, CONTAINERS) for part in POSTGRES_READY)]
    assert re.search(r'^HEALTHCHECK .*CMD \["rnnpipe", "stack", "health"\]$', DOCKERFILE, re.MULTILINE)
    for name in OURS:
        disabled = IN_COMPOSE[name].get("healthcheck")
        assert disabled == ({"disable": True} if SERVICES[name].ends else None)


# ---- safe


@pytest.mark.parametrize("name", sorted(IN_COMPOSE))
def test_a_container_can_change_nothing_but_its_volume(name: str) -> None:
    service = IN_COMPOSE[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
    assert service["tmpfs"]
    assert service.get("user") == ("postgres" if name == "postgres" else None)
    assert service.get("init", False) is (name != "postgres")


def test_the_image_runs_as_a_user() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["$USER_ID"]
    assert "ARG USER_ID=1000" in DOCKERFILE


def test_the_image_starts_what_it_is_told_as_a_work_pool_does() -> None:
    assert "ENTRYPOINT" not in DOCKERFILE and 'CMD ["rnnpipe", "--help"]' in DOCKERFILE


def test_no_secret_has_a_value_in_these_files() -> None:
    value = re.compile(r"(password|secret|login|key)\w*\s*[:=]\s*[A-Za-z0-9]{4,}$", re.IGNORECASE | re.MULTILINE)
    assert value.search("MLFLOW_PASSWORD=hunter2")
    for name in ("Dockerfile", "compose.yaml", "compose.gpu.yaml", ".env.example"):
        assert not value.search((DOCKER / name).read_text(encoding="utf-8")), name
    files = {name: secret["file"] for name, secret in FILE["secrets"].items()}
    assert files == {name: f"./secrets/{name}" for name in SECRETS}
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    assert text.count("${RNNPIPE_SECRETS:?") == text.count("${RNNPIPE_SECRETS") == len(SECRETS)
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"docker/.env", "docker/secrets/"} <= set(ignored)


# ---- the image


def copied() -> list[str]:
    """Return what the Dockerfile copies from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_what_the_image_copies_is_there_and_nothing_else_is_sent() -> None:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())
    assert all((ROOT / source).exists() for source in copied())


def test_the_package_can_be_built_from_what_the_image_copies(tmp_path: Path) -> None:
    for source in copied():
        path = ROOT / source
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / source)
    wheels = tmp_path / "wheels"
    done = run(
        sys.executable, "-m", "pip", "--no-cache-dir", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
        "--no-index", "--wheel-dir", wheels, tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = wheels.iterdir()
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = [path for name in ("flows", "rnnpipe") for path in ROOT.glob(f"{name}/**/*.py")]
    sources += [path for suffix in ("c", "h", "html") for path in ROOT.glob(f"rnnpipe/**/*.{suffix}")]
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= packed


def test_the_overlay_changes_the_worker_only_and_fits_the_image() -> None:
    overlay = compose("compose.gpu.yaml")["services"]
    assert set(overlay) == {"worker"}
    builds = [overlay["worker"]["build"], IN_COMPOSE["secrets"]["build"]]
    for build in builds:
        assert {f"ARG {name}" for name in build["args"]} <= set(re.findall(r"^ARG \w+", DOCKERFILE, re.MULTILINE))
        assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
    assert [build["args"]["DEVICE"] for build in builds] == ["cuda", "cpu"]
    assert overlay["worker"]["image"] != IN_COMPOSE["worker"]["image"] == IN_COMPOSE["secrets"]["image"]
