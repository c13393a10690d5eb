"""Addresses may carry a user name and a password; what is shown, logged or stored may not."""

import re

CREDENTIALS = re.compile(r"://[^/\s]*:\S*@|://[^/\s]+@")  # a password may hold / and @


def mask_credentials(text: str) -> str:
    """Return a text with *** in place of the user name and password of the addresses in it."""
    return CREDENTIALS.sub("://***@", text)


def without_credentials(address: str) -> str:
    """Return an address without user name and password, fit for a link."""
    return CREDENTIALS.sub("://", address)
