"""The examples of the OpenAPI document are requests that the calls take, and answers that they give."""

import json

import pytest

from matchka.api import forms
from matchka.api.answers.analysis import ChallengeAnswer
from matchka.api.answers.answer import Answer
from matchka.api.answers.decisions import IdentifyAnswer, VerifyAnswer
from matchka.api.answers.embeddings import EmbedAnswer, EmbeddingsAnswer
from matchka.api.answers.enrolment import EnrollAnswer
from matchka.api.answers.service import NewKeyAnswer
from matchka.api.bodies.json_object import JsonReader
from matchka.api.examples import EXAMPLES
from matchka.api.forms import Form, check_fields
from matchka.api.forms.reading import kinds_of
from matchka.app import create_app
from matchka.settings import read_settings

KINDS: dict[str, tuple[type[Form], type[Answer]]] = {
    "embed": (forms.EmbedForm, EmbedAnswer),
    "createEmbeddings": (forms.EmbeddingsForm, EmbeddingsAnswer),
    "enroll": (forms.EnrollForm, EnrollAnswer),
    "verify": (forms.VerifyForm, VerifyAnswer),
    "compare": (forms.CompareForm, VerifyAnswer),
    "identify": (forms.IdentifyForm, IdentifyAnswer),
    "createChallenge": (forms.ChallengeForm, ChallengeAnswer),
    "createKey": (forms.KeyForm, NewKeyAnswer),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_of_a_request_is_a_form_of_its_call_and_its_answer_is_one(name: str):
    form, answer = KINDS[name]
    reader = JsonReader(kinds_of(form), max_files=32)
    reader.write(json.dumps(dict(EXAMPLES[name].request)).encode())
    assert check_fields(form, reader.fields()).model_fields_set == set(EXAMPLES[name].request)
    assert answer.model_validate(EXAMPLES[name].answer).model_dump(mode="json") == EXAMPLES[name].answer


def test_document_shows_every_example_with_its_call():
    calls = [call for path in create_app(read_settings({})).openapi()["paths"].values() for call in path.values()]
    shown = {}
    for call in calls:
        requests = [content["example"] for content in bodies_of(call.get("requestBody", {})) if "example" in content]
        answers = [
            content["example"]
            for one in call["responses"].values()
            for content in bodies_of(one)
            if "example" in content
        ]
        if requests or answers:
            shown[call["operationId"]] = (requests, answers)
    assert shown == {name: ([example.request], [example.answer]) for name, example in EXAMPLES.items()}


def bodies_of(described: dict[str, object]) -> list[dict[str, object]]:
    return list(described.get("content", {}).values())
