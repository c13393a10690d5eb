"""The stack's secrets: a file each, never a default, and nowhere else."""

import secrets
from pathlib import Path

from rnnpipe.credentials import is_known
from rnnpipe.errors import RnnpipeError
from rnnpipe.files import write_bytes

MIN_CHARACTERS = 12  # MLflow takes no fewer
USER = "admin"
SECRETS = {
    "postgres_password": "Postgres' superuser",
    "prefect_database_password": "Prefect's user in Postgres",
    "mlflow_database_password": "MLflow's user in Postgres",
    "prefect_login": "user:password of Prefect's page and API",
    "mlflow_password": f"password of {USER} on MLflow's page and API",
    "mlflow_form_key": "signs MLflow's forms",
}


def make_secrets(folder: Path) -> list[Path]:
    """Write a random secret into each file that isn't there, and return the new ones.

    Only the owner gets into the folder. The files themselves can be read by all, as containers see each of them
    through a mount of its own, as a user of their own.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = [folder / name for name in SECRETS if not (folder / name).exists()]
    for path in made:
        secret = secrets.token_hex(24)
        text = f"{USER}:{secret}\n" if path.name.endswith("login") else f"{secret}\n"
        write_bytes(path, text.encode())  # with mode 0644
    return made


def read_secret(folder: Path, name: str) -> str:
    """Return a secret; RnnpipeError where it is missing, short, a default or a placeholder."""
    path = folder / name
    fix = f"remove that file, then `rnnpipe stack secrets {folder}` makes one at random"
    try:
        text = path.read_text(encoding="ascii").removesuffix("\n")
    except FileNotFoundError:
        raise RnnpipeError(f"there is no secret {path}", f"rnnpipe stack secrets {folder}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RnnpipeError(f"the secret {path} can't be read: {type(error).__name__}", fix) from None
    user, _, password = text.rpartition(":") if name.endswith("login") else ("", "", text)
    if is_known(password, user) or is_known(text):
        raise RnnpipeError(f"the secret {path} is a default or a placeholder", fix)
    if len(password) < MIN_CHARACTERS:
        raise RnnpipeError(f"the secret {path} has fewer than {MIN_CHARACTERS} characters", fix)
    if not text.isprintable() or " " in text or (name.endswith("login") and not user):
        shape = "user:password, " if name.endswith("login") else ""
        raise RnnpipeError(f"the secret {path} has to be {shape}one line without spaces", fix)
    return text
