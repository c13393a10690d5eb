"""What bad input is made of can't always be sent from one test process to another: it is escaped."""

from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    report.sections = [(name, escaped(text)) for name, text in report.sections]
    if report.failed:
        report.longrepr = escaped(str(report.longrepr))
    return report


def escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
