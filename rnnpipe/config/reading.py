"""YAML as plain values: text, numbers, lists and mappings, with a limit to how much a file may hold."""

from pathlib import Path
from typing import Any

import yaml

from rnnpipe.errors import ConfigError

MAX_CONFIG_BYTES = 1 << 16
MAX_DEPTH = 100
MAX_NODES = 20_000  # with every alias counted as often as it stands there
MERGE_TAG = "tag:yaml.org,2002:merge"


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML that refuses keys that stand twice and aliases that grow without bound."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping; YAML itself would keep the last of two equal keys and say nothing."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE_TAG:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands there twice", key.start_mark
                    )
                seen.add(key.value)
        return node

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Begin a list or mapping in brackets; the scanner's time grows with the square of their depth."""
        if self.flow_level > MAX_DEPTH:
            raise RecursionError
        super().fetch_flow_collection_start(token)

    def get_single_node(self) -> yaml.Node | None:
        """Compose the document, and measure it before anything is made of it."""
        node = super().get_single_node()
        if node is not None:
            _count_nodes(node, {})
        return node


def _count_nodes(node: yaml.Node, counts: dict[int, int]) -> int:
    """Return how many nodes stand below one, each alias followed; ConstructorError where they are too many."""
    if id(node) not in counts:
        counts[id(node)] = MAX_NODES + 1  # while below itself, it has no end
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        pairs = [child if isinstance(child, tuple) else (child,) for child in children]
        counts[id(node)] = 1 + sum(_count_nodes(child, counts) for pair in pairs for child in pair)
    if counts[id(node)] > MAX_NODES:
        raise yaml.constructor.ConstructorError(
            None, None, f"more than {MAX_NODES} values, aliases counted", node.start_mark
        )
    return counts[id(node)]


def _plain(value: Any) -> Any:
    """Return a copy whose keys are text and in which no two places share a list or a mapping."""
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    return [_plain(child) for child in value] if isinstance(value, list) else value


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML with plain values only; ConfigError names the place of a mistake."""
    try:
        return _plain(yaml.load(text, Loader=_PlainLoader))  # noqa: S506 (a SafeLoader)
    except RecursionError:
        raise ConfigError(f"{origin}: not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise ConfigError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a config file as a mapping; ConfigError where it isn't one."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fix = "name a YAML file, such as configs/quickstart.yaml"
        raise ConfigError(f"{path}: can't be read: {reason}", fix) from None
    if len(content) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES >> 10} KiB, so it is no config")
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        found = "the file is empty" if values is None else f"this is {type(values).__name__}"
        raise ConfigError(f"{path}: a config is a mapping of sections; {found}")
    return values
