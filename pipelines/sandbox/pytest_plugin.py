"""The pytest fixture `insightly_sandbox`, which `docs/guide/sandbox.md` describes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pipelines.sandbox import Sandbox


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line("markers", "insightly_sandbox: the arguments of pipelines.sandbox.Sandbox")


@pytest.fixture
def insightly_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator["Sandbox"]:
    """An account of its own for each test, empty and without limits unless the marker says otherwise.

    The environment leads `insightly`, and the dlt source, to it.
    """
    from pipelines.sandbox import Contents, Sandbox, Switches

    marker = request.node.get_closest_marker("insightly_sandbox")
    options = dict(marker.kwargs) if marker else {}
    if not options.keys() & {"seed", "scale"}:
        options.setdefault("contents", Contents())
    options.setdefault("switches", Switches(rate=None, quota=None))
    with Sandbox(**options) as sandbox:
        for name, value in sandbox.settings.items():
            monkeypatch.setenv(name, value)
        yield sandbox
