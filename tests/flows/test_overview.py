"""Models of a run side by side: what can't be drawn stops nothing."""

import logging
from typing import Any

import pytest

from flows import delivery
from rnnpipe.errors import TrackingError


def test_what_can_t_be_drawn_is_told_and_stops_no_registration(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nothing: Any = None

    def fail(error: Exception) -> None:
        def show(*arguments: Any) -> None:
            raise error

        monkeypatch.setattr(delivery, "show_overview", show)

    fail(ValueError("no such font"))
    with caplog.at_level(logging.WARNING):
        delivery._show_overview(nothing, nothing, {})
    assert "aren't drawn side by side: ValueError: no such font" in caplog.text
    fail(TrackingError("MLflow is gone", "start it"))
    with pytest.raises(TrackingError):  # the outcome stays in the spool
        delivery._show_overview(nothing, nothing, {})
