"""What calls send, and whom the set-up enrols for them."""

import json
from email import message_from_bytes
from email.message import Message

import pytest

from loadtests.payloads import Payload
from loadtests.scenarios import calls
from loadtests.scenarios.material import Material

VOICES = {"ada": (b"a1", b"a2"), "bob": (b"b1",), "cyd": (b"c1",)}
FACES = {"eve": (b"e1",), "fay": (b"f1",)}
MATERIAL = Material({"voice": VOICES, "face": FACES}, (b"signal",), "run")


def sent(payload: Payload) -> dict[str, bytes]:
    """The fields of a form, files among them, as another parser reads them."""
    whole: Message = message_from_bytes(f"Content-Type: {payload.content_type}\r\n\r\n".encode() + payload.body)
    parts = [part for part in whole.walk() if not part.is_multipart()]
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}


def first(kind: calls.CallKind) -> calls.Request:
    return next(kind.prepare(MATERIAL)())


def test_verify_sends_a_sample_of_the_subject_it_names_who_is_enrolled():
    kind = calls.verify("voice")
    enrolled = {one.subject_id: one.samples for one in kind.enrolments(MATERIAL)}
    for _ in range(20):
        fields = sent(first(kind).payload)
        assert fields["file"] in enrolled[fields["subject_id"].decode()]


def test_enrol_never_sends_one_subject_the_same_sample_twice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calls, "SUBJECTS_KEPT", 3)
    converse = calls.enrol("voice").prepare(MATERIAL)
    fields = [sent(next(converse()).payload) for _ in range(40)]
    pairs = [(one["subject_id"], one["file"]) for one in fields]
    assert len(set(pairs)) == len(pairs)
    assert len({subject for subject, _ in pairs}) < len(pairs)  # some subjects are sent several


def test_joint_call_sends_the_voice_and_the_face_that_were_enrolled_together():
    kind = calls.verify_jointly()
    enrolled = {(one.subject_id, one.model): one.samples for one in kind.enrolments(MATERIAL)}
    assert len(enrolled) == 2 * len(VOICES)
    for _ in range(20):
        fields = sent(first(kind).payload)
        subject = fields["subject_id"].decode()
        assert fields["voice_file"] in enrolled[subject, "voice"]
        assert fields["face_file"] in enrolled[subject, "face"]


def test_challenge_is_answered_with_its_id_for_the_subject_that_asked():
    conversation = calls.challenge().prepare(MATERIAL)()
    asked = json.loads(next(conversation).payload.body)
    answer = conversation.send(json.dumps({"challenge_id": "c-17"}).encode())
    fields = sent(answer.payload)
    assert (fields["challenge_id"], fields["subject_id"]) == (b"c-17", asked["subject_id"].encode())


def test_challenge_that_was_not_given_is_not_answered():
    conversation = calls.challenge().prepare(MATERIAL)()
    next(conversation)
    with pytest.raises(StopIteration):
        conversation.send(None)
