"""What libraries may say in the log of a mine."""

from __future__ import annotations

import logging

import pytest

from hashwerk.cli.processes import hush_libraries

CHATTY = ("apscheduler.scheduler", "apscheduler.executors.default", "httpx", "aiohttp.access", "mqtt")


@pytest.fixture
def levels() -> None:
    """Forget what other tests have set."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name.partition(".")[0]).setLevel(logging.NOTSET)


@pytest.mark.usefixtures("levels")
@pytest.mark.parametrize("name", CHATTY)
def test_libraries_are_heard_when_something_is_wrong(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(name)
    with caplog.at_level(logging.INFO):
        logger.info("before")
        hush_libraries()
        logger.info("all day")
        logger.warning("something is wrong")
    assert [record.message for record in caplog.records] == ["before", "something is wrong"]
