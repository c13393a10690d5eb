"""Pages: one HTML file each, complete in itself, made from a template; whatever stands in it is escaped."""

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from rnnpipe.credentials import mask_credentials

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Return the page that a template makes of values; a value that is missing is a mistake of ours."""
    return _environment().get_template(template).render(**values)


def percent(share: float, digits: int = 2) -> str:
    """Return a share of 1 in percent."""
    return f"{100 * share:.{digits}f} %"


def points(difference: float) -> str:
    """Return a difference of shares in points, with its sign."""
    return f"{100 * difference:+.2f}"


def as_yaml(value: Any) -> str:
    """Return JSON values as YAML for people, without the credentials of addresses."""
    return mask_credentials(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "number": lambda value: f"{value:,}"}
    return environment
