"""Addresses may carry a user name and a password; what is shown, logged or stored may not."""

import re

CREDENTIALS = re.compile(r"://[^/\s]*:\S*@|://[^/\s]+@")  # a password may hold / and @
PLACEHOLDER = re.compile(r"change.?(me|this|it)|example|placeholder|^[<${].*[>}]$|^(.)\2*$", re.IGNORECASE)
DEFAULT_PASSWORDS = {
    "", "admin", "changeme", "minioadmin", "mlflow", "pass", "password", "password123", "password1234", "postgres",
    "prefect", "root", "secret", "test", "123456", "12345678",
}  # fmt: skip


def mask_credentials(text: str) -> str:
    """Return a text with *** in place of the user name and password of the addresses in it."""
    return CREDENTIALS.sub("://***@", text)


def without_credentials(address: str) -> str:
    """Return an address without user name and password, fit for a link."""
    return CREDENTIALS.sub("://", address)


def is_known(password: str, user: str = "") -> bool:
    """Say whether a password is one that everybody tries: a default, a placeholder, the user's own name."""
    return password.lower() in DEFAULT_PASSWORDS | {user.lower()} or bool(PLACEHOLDER.search(password))
