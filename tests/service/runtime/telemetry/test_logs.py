"""Log lines: one for each record, whole, and without what requests hold."""

import io
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from matchka.errors import SilenceError
from matchka.runtime.telemetry.logs import FORMATTERS, LogFormat
from matchka.runtime.telemetry.served_request import ServedRequest, serving

TELLING = "eva-maria-7"


def logger_to(stream: io.StringIO, log_format: LogFormat) -> logging.Logger:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(FORMATTERS[log_format]())
    logger = logging.Logger("matchka.tests")
    logger.addHandler(handler)
    return logger


def failed(log_format: LogFormat, request: ServedRequest | None) -> str:
    """What is logged of a foreign error that followed one of ours, inside of a request or outside."""
    stream = io.StringIO()
    logger = logger_to(stream, log_format)
    try:
        try:
            raise SilenceError("The clip is silent.", value=TELLING, remedy="Speak.")
        except SilenceError as error:
            raise KeyError(TELLING) from error
    except KeyError:
        if request is None:
            logger.exception("a step failed")
        else:
            with serving(request):
                logger.exception("a step failed")
    return stream.getvalue()


def test_json_line_has_time_level_logger_and_message_and_nothing_of_a_request_outside_of_one():
    stream = io.StringIO()
    logger_to(stream, "json").warning("two lines\n%s", 'and "quotes" \u2028 é')
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    age = datetime.now(UTC) - datetime.fromisoformat(found.pop("time"))
    assert timedelta(0) <= age + timedelta(milliseconds=1) < timedelta(minutes=1)
    message = 'two lines\nand "quotes" \u2028 é'
    assert found == {"level": "warning", "logger": "matchka.tests", "message": message}


def test_json_line_inside_a_request_has_its_ids_and_those_of_its_trace():
    stream = io.StringIO()
    logger = logger_to(stream, "json")
    for request in (
        ServedRequest("mine", "0" * 32),
        ServedRequest("other", "1" * 32, trace_id="a" * 32, span_id="b" * 16),
    ):
        with serving(request):
            logger.info("said")
    ids = ("request_id", "audit_id", "trace_id", "span_id")
    found = [tuple(json.loads(line).get(name) for name in ids) for line in stream.getvalue().splitlines()]
    assert found == [("mine", "0" * 32, None, None), ("other", "1" * 32, "a" * 32, "b" * 16)]


def test_json_exception_is_one_line_with_its_causes_and_places():
    (line,) = failed("json", None).splitlines()
    first, second = json.loads(line)["exception"]
    assert (first["type"], first["message"]) == ("matchka.errors.SilenceError", "The clip is silent.")
    assert (second["type"], second["message"]) == ("KeyError", f"'{TELLING}'")
    for error in (first, second):
        (place,) = error["frames"]
        assert place.split(":")[0].endswith("test_logs.py")
        assert place.endswith(" failed")


def test_text_exception_is_a_traceback():
    lines = failed("text", None).splitlines()
    assert lines[:2] == ["ERROR matchka.tests: a step failed", "Traceback (most recent call last):"]
    assert lines[-1] == f"KeyError: '{TELLING}'"
    assert "matchka.errors.SilenceError: The clip is silent." in lines


@pytest.mark.parametrize("log_format", FORMATTERS)
def test_exception_inside_a_request_says_where_it_was_and_nothing_that_the_request_sent(log_format: LogFormat):
    logged = failed(log_format, ServedRequest("request-1", "0" * 32))
    assert TELLING not in logged
    assert "request-1" in logged
    assert "The clip is silent." in logged
    assert "KeyError" in logged
    assert "test_logs.py" in logged


def test_exception_that_leads_back_to_itself_is_logged_once():
    stream = io.StringIO()
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    logger_to(stream, "json").error("round", exc_info=first)
    assert [one["message"] for one in json.loads(stream.getvalue())["exception"]] == ["second", "first"]


PROGRAM = """
import logging, sys, threading, warnings
from matchka.runtime.telemetry.logs import configure_logging
configure_logging(sys.argv[1], "json")
logging.getLogger("uvicorn.error").info("of the server")
logging.getLogger("library").debug("what a file holds")
logging.getLogger("matchka.x").debug("our own detail")
warnings.warn("old")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise KeyError("at the end")
"""


@pytest.mark.parametrize(("level", "further"), [("info", []), ("debug", ["our own detail"])])
def test_process_writes_json_and_nothing_else_whatever_writes(level: str, further: list[str]):
    done = subprocess.run([sys.executable, "-c", PROGRAM, level], capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    messages = [one["message"] for one in found]
    assert messages[: len(messages) - 3] == ["of the server", *further]
    assert messages[-3].endswith("UserWarning: old")
    assert [one["exception"][0]["type"] for one in found[-2:]] == ["ZeroDivisionError", "KeyError"]
    assert done.returncode == 1


def test_process_at_level_error_leaves_lesser_records_out():
    done = subprocess.run([sys.executable, "-c", PROGRAM, "error"], capture_output=True, text=True, check=False)
    assert [json.loads(line)["level"] for line in done.stderr.splitlines()] == ["critical", "critical"]
