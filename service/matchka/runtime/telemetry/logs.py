"""The service's log: one line for each record, as text or as JSON, without what requests hold.

An exception's own words may repeat what a caller sent or what is stored: a database's driver quotes the row. So while
a request is served they are left out, of every exception but our own, and the place in the program says what failed.
"""

import json
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO, TypeAlias

from matchka.errors import MatchkaError
from matchka.runtime.telemetry.served_request import served_request

LogFormat: TypeAlias = Literal["text", "json"]
OURS: Final = "matchka"
LOGGER: Final = logging.getLogger(OURS)


class TextFormatter(logging.Formatter):
    """A line for people, with the request's id where there is one; an exception is a traceback below it.

    Args: process: its number among those of the service; None where there is one.
    """

    def __init__(self, process: int | None = None) -> None:
        place = "" if process is None else f" (process {process})"
        super().__init__(f"%(levelname)s %(name)s{place}: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line."""
        served = served_request()
        return super().formatMessage(record) + ("" if served is None else f" (request {served.request_id})")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Places and classes, and words where they may be told."""
        told = []
        for error in _chain(ei[1]):
            words = _words(error)
            told += ["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__)]
            told.append(f"{_name(error)}: {words}\n" if words else f"{_name(error)}\n")
        return "".join(told).rstrip("\n")


class JsonFormatter(logging.Formatter):
    """One JSON object for each record, on one line.

    Args: process: its number among those of the service; None where there is one.
    """

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._place = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._place,
        }
        served = served_request()
        if served is not None:
            known = {"request_id": served.request_id, "audit_id": served.audit_id}
            traced = {"trace_id": served.trace_id, "span_id": served.span_id}
            line |= known | {name: value for name, value in traced.items() if value is not None}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = [_described(error) for error in _chain(record.exc_info[1])]
        return json.dumps(line)


FORMATTERS: Final[dict[LogFormat, type[TextFormatter | JsonFormatter]]] = {"text": TextFormatter, "json": JsonFormatter}


def configure_logging(level: str, log_format: LogFormat, process: int | None = None) -> None:
    """Write every record of the process to standard error: the server's, warnings and uncaught exceptions included.

    Args:
        level: least level of our own records; of libraries `info` at least, for some of them tell at `debug` what is
            in a file that they read.
        log_format: how.
        process: its number among those of the service; None where there is one.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS[log_format](process))
    logging.basicConfig(level=max(least, logging.INFO), handlers=[handler])
    LOGGER.setLevel(least)
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda given: _log_uncaught(given.exc_type, given.exc_value, given.exc_traceback)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the names are those of warnings
    line: str | None = None,  # noqa: ARG001
) -> None:
    LOGGER.warning("%s:%d: %s: %s", filename, lineno, category.__name__, message)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, place: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    LOGGER.critical("an exception that nothing caught", exc_info=(kind, error, place))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception after those that led to it, as Python shows them."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    yield from reversed(found)


def _described(error: BaseException) -> dict[str, object]:
    frames = traceback.extract_tb(error.__traceback__)
    words = _words(error)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"type": _name(error), **({"message": words} if words else {}), "frames": places}


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


def _words(error: BaseException) -> str:
    if isinstance(error, MatchkaError):
        return error.detail  # without the value, which a caller may have sent
    return str(error) if served_request() is None else ""
