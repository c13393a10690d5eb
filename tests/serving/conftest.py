"""A registry to be served from."""

from collections.abc import Iterator

import pytest
from served_models import Served, register_two


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = register_two(tmp_path_factory.mktemp("served"))
    yield served
    assert not served.workspace.processes()
