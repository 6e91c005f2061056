"""Errors as application/problem+json."""

import json

import pytest

from matchka.api.problems import STATUS_AND_CODE, problem_response, status_and_code
from matchka.errors import (
    MatchkaError,
    OverloadedError,
    SilenceError,
    StoreError,
    UnauthorizedError,
    UnexpectedError,
    shorten,
)


def test_problem_response_carries_the_error_whole():
    response = problem_response(SilenceError("The clip is silent.", value=-91.5, remedy="Speak."))
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body) == {
        "type": "urn:matchka:problem:silence",
        "title": "Silence",
        "status": 422,
        "code": "silence",
        "detail": "The clip is silent.",
        "value": "-91.5",
        "remedy": "Speak.",
    }


def test_problem_response_of_401_and_503_carries_their_headers_and_of_others_none():
    assert problem_response(UnauthorizedError("d", remedy="r")).headers["www-authenticate"] == "Bearer"
    assert int(problem_response(OverloadedError("d", remedy="r")).headers["retry-after"]) >= 1
    other = problem_response(SilenceError("d", remedy="r")).headers
    assert not {"www-authenticate", "retry-after"} & set(other)


def test_problem_response_of_an_error_no_caller_should_meet_is_500_internal_error():
    for error in (StoreError("d", remedy="r"), UnexpectedError("d", remedy="r"), MatchkaError("d", remedy="r")):
        assert json.loads(problem_response(error).body)["code"] == "internal_error"
        assert problem_response(error).status_code == 500


class _MutedError(SilenceError):
    """A kind of an error of the table that the table does not know."""


class _MutedMicrophoneError(_MutedError):
    """A kind of that."""


@pytest.mark.parametrize("kind", [_MutedError, _MutedMicrophoneError])
def test_problem_response_of_an_unlisted_kind_of_a_listed_error_is_its_parents(kind: type[SilenceError]):
    response = problem_response(kind("d", remedy="r"))
    assert (response.status_code, json.loads(response.body)["code"]) == (422, "silence")


@pytest.mark.parametrize("value", ["x" * 121, "x" * 10**6, "é" * 500])
def test_error_value_that_is_long_is_shortened(value: str):
    error = MatchkaError("d", value=value, remedy="r")
    assert error.value == f"{value[:120]}… ({len(value)} characters)"
    assert shorten("x" * 120) == "x" * 120


def test_error_as_text_is_one_line_with_value_and_remedy():
    assert str(MatchkaError("It is wrong.", value=7, remedy="Mend it.")) == "It is wrong. (got '7') Mend it."
    assert str(MatchkaError("It is wrong.", remedy="Mend it.")) == "It is wrong. Mend it."


def test_codes_are_unique_and_statuses_are_those_of_a_refusal():
    codes = [code for _, code in STATUS_AND_CODE.values()]
    assert len(set(codes)) == len(codes)
    assert all(400 <= status < 600 and status != 500 for status, _ in STATUS_AND_CODE.values())
    assert status_and_code(MatchkaError("d", remedy="r")) == (500, "internal_error")
