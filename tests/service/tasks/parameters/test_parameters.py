"""Settings of words and between settings: against numbers worked out by hand, and never outside their ranges."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from matchka.bundles.outputs.parameters import Parameter, ParametersOutput
from matchka.errors import RequestFailedError
from tests.factories.bundles import write_bundle
from tests.factories.parameters import WORDS, parameters_output, write_parameters_bundle
from tests.factories.small_server import SmallServer, serving, small_settings

JSON = {"Content-Type": "application/json"}
A = {"frequency": 100.0, "gain": -12}
B = {"frequency": 6400.0, "gain": 0.71}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """`tone` returns settings, `voice` does not."""
    folder = tmp_path_factory.mktemp("parameters")
    write_parameters_bundle(folder / "models" / "tone", "tone")
    write_bundle(folder / "models" / "voice")
    with serving(small_settings(folder)) as running:
        yield running


def test_word_between_two_strengths_is_the_mean_of_places_in_the_ranges(server: SmallServer):
    found = server.client().generate("Warm ", 0.75, "tone").parameters
    assert found == {"frequency": pytest.approx(math.sqrt(100 * 50)), "gain": pytest.approx(7.5)}


@pytest.mark.parametrize(("strength", "number"), [(0, 0), (0.5, 1), (1, 2)])
def test_word_at_a_strength_that_was_solved_is_that_setting(server: SmallServer, strength: float, number: int):
    found = server.client().generate("warm", strength, "tone").parameters
    assert list(found.values()) == WORDS["warm"]["settings"][number]


def test_word_without_a_strength_is_the_whole_word(server: SmallServer):
    assert server.client().generate("warm", model="tone").parameters == {"frequency": 50.0, "gain": 12.0}


def test_morph_between_two_settings_is_even_in_their_ranges_and_exact_at_its_ends(server: SmallServer):
    client = server.client()
    found = {t: client.morph(A, B, t, "tone").parameters for t in (0, 0.25, 0.5, 1)}
    assert found[0] == A
    assert found[1] == B
    assert found[0.25] == {"frequency": pytest.approx(100 * 64**0.25), "gain": pytest.approx(-12 + 12.71 / 4)}
    assert client.morph(A, B, model="tone").parameters == found[0.5]


def test_morph_of_files_and_of_objects_is_the_same(server: SmallServer):
    files = [(name, (name, json.dumps(sample).encode())) for name, sample in (("a", A), ("b", B))]
    form = requests.post(f"{server.url}/v1/morph", data={"model": "tone", "t": "0.3"}, files=files, timeout=60).json()
    assert form == post(server, "morph", {"a": A, "b": B, "t": 0.3})


@pytest.mark.parametrize(
    ("call", "fields", "code", "value"),
    [
        ("generate", {"descriptor": "airy"}, "unknown_descriptor", "airy"),
        ("generate", {"descriptor": ""}, "invalid_field", ""),
        ("generate", {"descriptor": "warm", "strength": 1.01}, "invalid_field", "1.01"),
        ("generate", {"strength": 1}, "missing_field", "descriptor"),
        ("generate", {"descriptor": "warm", "model": "voice"}, "output_not_available", "voice"),
        ("morph", {"a": A, "b": B, "t": -0.01}, "invalid_field", "-0.01"),
        ("morph", {"a": A, "b": B, "t": float("nan")}, "invalid_field", "NaN"),
        ("morph", {"a": A, "t": 0.5}, "missing_field", "b"),
        ("morph", {"a": A, "b": {**B, "gain": 12.000001}}, "number_out_of_range", "12.000001"),
        ("morph", {"a": A, "b": {**B, "frequency": 6.4}}, "number_out_of_range", "6.4"),
        ("morph", {"a": A, "b": {"gain": 1}}, "missing_number", "frequency"),
    ],
)
def test_setting_that_cannot_be_made_is_refused_with_its_code_and_value(
    server: SmallServer, call: str, fields: dict[str, Any], code: str, value: str
):
    problem = post(server, call, fields)
    assert (problem["status"], problem["code"], problem["value"]) == (422, code, value)
    document = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    declared = document["paths"][f"/v1/{call}"]["post"]["responses"]["422"]["content"]["application/problem+json"]
    assert code in declared["schema"]["properties"]["code"]["enum"]


def test_refusal_of_a_word_names_those_that_are_known(server: SmallServer):
    with pytest.raises(RequestFailedError, match="Its words are warm"):
        server.client().generate("airy", model="tone")


def test_models_list_words_and_how_many_gave_them_without_their_settings(server: SmallServer):
    (model,) = [model for model in server.client().models().models if model.name == "tone"]
    assert model.outputs["settings"]["words"] == {"warm": 9}
    assert [each["name"] for each in model.outputs["settings"]["parameters"]] == ["frequency", "gain"]


@given(st.data())
def test_value_between_two_is_within_both_whatever_the_range(data: st.DataObject):
    scale = data.draw(st.sampled_from(["linear", "log"]))
    low = data.draw(st.floats(1e-6 if scale == "log" else -1e6, 1e6))
    high = data.draw(st.floats(low, 2e6).filter(lambda value: value > low))
    one, other = (data.draw(st.floats(low, high)) for _ in range(2))
    parameter = Parameter(name="x", unit="", low=low, high=high, scale=scale)
    value = parameter.between(one, other, data.draw(st.floats(0, 1)))
    assert min(one, other) <= value <= max(one, other)
    assert (parameter.between(one, other, 0.0), parameter.between(one, other, 1.0)) == (one, other)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"strengths": [0, 0.5, 0.9]}, "end with 1"),
        ({"strengths": [0, 1, 1]}, "rise from 0"),
        ({"strengths": [0, 1]}, "one setting for each"),
        ({"words": {"warm": {"contributors": 9, "settings": [[200.0, 12.1]] * 3}}}, "within its range"),
        ({"words": {"warm": {"contributors": 9, "settings": [[200.0]] * 3}}}, "within its range"),
        ({"parameters": [{"name": "g", "unit": "", "low": 1, "high": 1, "scale": "linear"}]}, "below high"),
    ],
)
def test_output_of_settings_that_contradicts_itself_is_refused(changes: dict[str, Any], match: str):
    with pytest.raises(ValidationError, match=match):
        ParametersOutput.model_validate(parameters_output(**changes))


def post(server: SmallServer, call: str, fields: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = requests.post(
        f"{server.url}/v1/{call}", data=json.dumps({"model": "tone"} | fields), headers=JSON, timeout=60
    ).json()
    return answer
