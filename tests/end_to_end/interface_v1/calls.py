"""The calls that are recorded, in their order: every route, good requests and bad ones."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import requests

ANSWER_BOUND_S: Final = 120.0
TEMPLATE_ID: Final = re.compile(r"[0-9a-f]{32}")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")

PROBLEM: Final = "application/problem+json"
STABLE_IN_PROBLEMS: Final = ("code", "status", "title", "type", "value")  # the sentences beside them are for people

NONE: Final[Mapping[str, float]] = MappingProxyType({})

# name of a sample -> its bytes
Samples = Mapping[str, bytes]


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        name: unique; names its answer in the recording.
        method: of HTTP.
        path: with its query; `{template}` stands for the first template id that a call before was answered.
        fields: text fields of the form.
        files: (field, name of a sample) of each file.
        headers: more headers.
        body: sent instead of a form, with its content type.
    """

    name: str
    method: str
    path: str
    fields: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: tuple[str, bytes] | None = None


def post(name: str, call: str, *files: str | tuple[str, str], **fields: str) -> Call:
    """A form; a file without the name of its field is `file`."""
    named = tuple(("file", entry) if isinstance(entry, str) else entry for entry in files)
    return Call(name, "POST", f"/v1/{call}", tuple(fields.items()), named)


def get(name: str, path: str) -> Call:
    """A GET."""
    return Call(name, "GET", path)


VOICE: Final = (
    get("nobody yet", "/v1/subjects"),
    post("embed", "embed", "ada 0", model="voice"),
    post("embed two at a dim", "embed", "ada 0", "ben 0", model="voice", dim="4"),
    post("enrol ada", "enroll", "ada 0", "ada 1", model="voice", subject_id="ada"),
    post("enrol ben", "enroll", "ben 0", model="voice", subject_id="ben"),
    post("enrol ada once more", "enroll", "ada 2", model="voice", subject_id="ada"),
    post("verify ada", "verify", "ada 3", model="voice", subject_id="ada"),
    post("verify ada at a dim", "verify", "ada 3", model="voice", subject_id="ada", dim="4", max_fmr="0.01"),
    post("verify ben as ada", "verify", "ben 3", model="voice", subject_id="ada"),
    post("compare", "compare", ("file_a", "ada 3"), ("file_b", "ben 3"), model="voice", max_fmr="0.1"),
    post("identify ada", "identify", "ada 4", model="voice"),
    post("identify at a dim", "identify", "ada 4", model="voice", dim="4", top_k="1", max_fpir="0.1"),
    post("identify a stranger", "identify", "eve 0", model="voice"),
    get("subjects", "/v1/subjects"),
    get("subjects by pages", "/v1/subjects?limit=1"),
    get("next page", "/v1/subjects?limit=1&cursor=YWRh"),
    get("one subject", "/v1/subjects/ada"),
    get("models", "/v1/models"),
    get("health", "/healthz"),
    get("readiness", "/readyz"),
    # --- refused
    post("unknown model", "embed", "ada 0", model="other"),
    post("missing model", "embed", "ada 0"),
    post("missing file", "embed", model="voice"),
    post("unknown field", "embed", "ada 0", model="voice", colour="red"),
    post("field given as a file", "embed", "ada 0", ("model", "ada 0")),
    post("untrained dim", "embed", "ada 0", model="voice", dim="5"),
    post("dim that is no number", "embed", "ada 0", model="voice", dim="true"),
    post("face of a voice", "embed", "ada 0", model="voice", face="only"),
    post("rate out of range", "verify", "ada 0", model="voice", subject_id="ada", max_fmr="1"),
    post("top_k out of range", "identify", "ada 0", model="voice", top_k="0"),
    post("subject id with a space", "enroll", "eve 0", model="voice", subject_id="a b"),
    post("unknown subject", "verify", "ada 0", model="voice", subject_id="nobody"),
    post("parts for one model", "verify", ("voice_file", "ada 0"), model="voice", subject_id="ada"),
    post("no audio", "embed", "text", model="voice"),
    post("empty file", "embed", "empty", model="voice"),
    post("silence", "embed", "silence", model="voice"),
    post("too short", "embed", "too short", model="voice"),
    post("cut short", "embed", "cut short", model="voice"),
    post("no fusion", "verify", ("voice_file", "ada 0"), ("face_file", "ada 0"), model="voice+face", subject_id="ada"),
    Call("no form", "POST", "/v1/embed", body=("text/plain", b"hello")),
    Call("broken form", "POST", "/v1/embed", body=("multipart/form-data; boundary=x", b"--x\r\nnonsense")),
    Call("no boundary", "POST", "/v1/embed", body=("multipart/form-data", b"")),
    get("unknown path", "/v1/nothing"),
    get("wrong method", "/v1/embed"),
    get("stray parameter", "/v1/subjects?colour=red"),
    get("limit out of range", "/v1/subjects?limit=0"),
    get("cursor of somebody else", "/v1/subjects?cursor=%21"),
    get("subject that is not there", "/v1/subjects/nobody"),
    Call("delete a template that is not there", "DELETE", "/v1/templates/" + "0" * 32),
    Call("delete a subject that is not there", "DELETE", "/v1/subjects/nobody"),
    # --- deleted
    Call("delete a template", "DELETE", "/v1/templates/{template}"),
    get("one template less", "/v1/subjects/ada"),
    post("verify without it", "verify", "ada 3", model="voice", subject_id="ada"),
    Call("delete ben", "DELETE", "/v1/subjects/ben"),
    post("verify ben, who is gone", "verify", "ben 3", model="voice", subject_id="ben"),
    post("identify ben, who is gone", "identify", "ben 3", model="voice"),
)

FACE: Final = (
    post("enrol a face", "enroll", "obama", model="face", subject_id="barack"),
    post("enrol his voice", "enroll", "voice 0", model="voice", subject_id="barack"),
    post("enrol another voice", "enroll", "other voice 0", model="voice", subject_id="card"),
    post("verify a face", "verify", "obama3", model="face", subject_id="barack"),
    post("verify a face at a dim", "verify", "obama3", model="face", subject_id="barack", dim="32", face="only"),
    post("verify another face", "verify", "biden", model="face", subject_id="barack"),
    post("identify a face", "identify", "obama3", model="face"),
    post("identify all faces", "identify", "biden", model="face", face="all"),
    post("compare faces", "compare", ("file_a", "obama"), ("file_b", "obama2"), model="face"),
    post("embed a face", "embed", "biden", model="face", dim="8"),
    post(
        "verify jointly",
        "verify",
        ("voice_file", "voice 1"),
        ("face_file", "obama3"),
        model="voice+face",
        subject_id="barack",
    ),
    post(
        "verify jointly with another voice",
        "verify",
        ("voice_file", "other voice 1"),
        ("face_file", "obama3"),
        model="voice+face",
        subject_id="barack",
    ),
    post(
        "verify jointly by the sum",
        "verify",
        ("voice_file", "voice 1"),
        ("face_file", "obama3"),
        model="voice+face",
        subject_id="barack",
        require="sum",
    ),
    post("verify jointly without a face", "verify", ("voice_file", "voice 1"), model="voice+face", subject_id="barack"),
    post("identify a voice", "identify", "voice 1", model="voice"),
    post("no picture", "embed", "voice 0", model="face"),
    post("no face", "embed", "grey", model="face"),
    get("subjects with faces", "/v1/subjects"),
)


@dataclass
class Recorder:
    """Makes calls to a running service and keeps what a recording keeps of their answers."""

    url: str
    samples: Samples
    template_ids: list[str] = field(default_factory=list)

    def answers(self, calls: tuple[Call, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The name and the answer of each call."""
        for call in calls:
            yield call.name, self._answer(call)

    def _answer(self, call: Call) -> dict[str, Any]:
        files = [(part, ("sample", self.samples[name])) for part, name in call.files]
        # a form without a file is multipart all the same
        fields: Any = call.fields if files else [(name, (None, value)) for name, value in call.fields]
        sent: dict[str, Any] = {"data": fields, "files": files} if files else {"files": fields}
        headers = dict(call.headers)
        if call.body is not None:
            headers["Content-Type"], sent = call.body[0], {"data": call.body[1]}
        path = call.path.replace("{template}", next(iter(self.template_ids), ""))
        answer = requests.request(call.method, self.url + path, headers=headers, timeout=ANSWER_BOUND_S, **sent)
        content_type = answer.headers.get("content-type", "").split(";")[0]
        body = self._steady(json.loads(answer.text)) if content_type.endswith("json") else answer.text
        if content_type == PROBLEM:
            body = {key: body[key] for key in STABLE_IN_PROBLEMS}
        return {"status": answer.status_code, "content_type": content_type, "body": body}

    def _steady(self, value: Any) -> Any:
        """A value with names in place of what is another each time: template ids and times."""
        if isinstance(value, dict):
            return {key: self._steady(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._steady(entry) for entry in value]
        if isinstance(value, str) and TEMPLATE_ID.fullmatch(value) and value != "0" * 32:
            self.template_ids.append(value)
            return "a template id"
        if isinstance(value, str) and TIME.fullmatch(value):
            return "a time"
        return value


def differences(
    recorded: Any, found: Any, tolerance: float, of_fields: Mapping[str, float] = NONE, where: str = ""
) -> list[str]:
    """What a later answer lacks or has otherwise; what it has beside is no difference.

    Args:
        recorded: JSON values.
        found: JSON values.
        tolerance: of numbers that are no integers.
        of_fields: the tolerance of everything in a field of that name, where it has another unit.
        where: path to the values.
    """
    if isinstance(recorded, dict) and isinstance(found, dict):
        missing = [f"{where}/{key} is missing" for key in recorded if key not in found]
        kept = [key for key in recorded if key in found]
        return missing + [
            d
            for key in kept
            for d in differences(recorded[key], found[key], of_fields.get(key, tolerance), of_fields, f"{where}/{key}")
        ]
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        pairs = enumerate(zip(recorded, found, strict=True))
        return [
            d for number, (old, new) in pairs for d in differences(old, new, tolerance, of_fields, f"{where}/{number}")
        ]
    if isinstance(recorded, float) and isinstance(found, int | float):
        return [] if abs(recorded - found) <= tolerance else [f"{where}: {recorded} became {found}"]
    return [] if recorded == found else [f"{where}: {recorded!r} became {found!r}"]
