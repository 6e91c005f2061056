"""The Python client: every call of the HTTP interface as a method, every problem document as an exception.

>>> client = Client("http://127.0.0.1:8000")  # nothing is sent yet
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

import requests
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ValidationError

from matchka.api.schemas import (
    EmbedAnswer,
    EnrollAnswer,
    FusedVerifyAnswer,
    HealthAnswer,
    IdentifyAnswer,
    ModelsAnswer,
    Problem,
    SubjectAnswer,
    SubjectsAnswer,
    VerifyAnswer,
)
from matchka.errors import (
    InvalidFieldError,
    MissingFieldError,
    RequestFailedError,
    ServiceUnreachableError,
    SettingsError,
)
from matchka.settings import read_settings

Sample: TypeAlias = Path | str | bytes
Part: TypeAlias = tuple[str, tuple[str, bytes]]
Value: TypeAlias = str | int | float | None
AnswerT = TypeVar("AnswerT", bound=BaseModel)

DEFAULT_TIMEOUT_S: Final = 120.0  # 32 clips of a minute on two busy cores
POLL_S: Final = 0.1
SHORTEST_WAIT_S: Final = 0.2  # for one answer, when the time to wait is nearly over
GALLERY_METRIC: Final = "matchka_gallery_subjects"
# where the service can only speak of headers and paths, which who calls it by this client never sees
REMEDIES: Final = {
    "unauthorized": "Set MATCHKA_API_KEY to the service's key, or give it to Client(api_key=…).",
    "unknown_path": "Set MATCHKA_URL to the service's root, without /v1; client and service have to be of one version.",
}
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "::1")


class Client:
    """A connection to a running service. Not safe to share between threads; make one for each.

    Args:
        url: where the service is; MATCHKA_URL by default.
        api_key: sent as a bearer token; MATCHKA_API_KEY by default, none where it is empty.
        timeout_s: longest wait for one answer.

    Raises: SettingsError: no http(s) address, a key that no header can carry, or a setting that is out of range.
    Every method raises:
        RequestFailedError: the service refused; the error carries its code, the value and the remedy.
        ServiceUnreachableError: there was no answer.
    """

    def __init__(
        self, url: str | None = None, api_key: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        if url is None or api_key is None:
            settings = read_settings(url=url)
            url = settings.url
            if api_key is None and settings.api_key is not None:
                api_key = settings.api_key.get_secret_value()
        self._url = _checked_url(url)
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # a proxy for the internet must not be asked for this machine
        self._session.trust_env = urlsplit(self._url).hostname not in LOOPBACK_HOSTS
        if api_key:
            self._session.auth = _Bearer(_checked_key(api_key))

    def embed(
        self, samples: list[Sample], model: str = "voice", dim: int | None = None, face: str | None = None
    ) -> EmbedAnswer:
        """Embed samples (paths or bytes) at a trained dim."""
        return self._post("embed", EmbedAnswer, {"model": model, "dim": dim, "face": face}, _parts("file", samples))

    def enroll(
        self, subject_id: str, samples: list[Sample], model: str = "voice", face: str | None = None
    ) -> EnrollAnswer:
        """Store one template for each sample, all or none."""
        fields = {"model": model, "subject_id": subject_id, "face": face}
        return self._post("enroll", EnrollAnswer, fields, _parts("file", samples))

    def verify(
        self,
        subject_id: str,
        sample: Sample,
        model: str = "voice",
        dim: int | None = None,
        max_fmr: float | None = None,
        face: str | None = None,
    ) -> VerifyAnswer:
        """Compare a sample with the reference of a subject."""
        fields = {"model": model, "subject_id": subject_id, "dim": dim, "max_fmr": max_fmr, "face": face}
        return self._post("verify", VerifyAnswer, fields, _parts("file", [sample]))

    def verify_jointly(
        self,
        subject_id: str,
        voice_sample: Sample,
        face_sample: Sample,
        max_fmr: float | None = None,
        require: str | None = None,
        max_fmr_each: float | None = None,
    ) -> FusedVerifyAnswer:
        """Compare a voice and a face with the references of a subject; one decision on both.

        Args:
            subject_id: enrolled with both models.
            voice_sample: a clip.
            face_sample: a picture.
            max_fmr: false match rate that both together keep; 1e-3 by default.
            require: `both` (default), each part has to pass on its own as well; `sum`, a strong part makes up for a
                weak one.
            max_fmr_each: with `both`, the false match rate that each part keeps on its own; 1e-2 by default.
        """
        fields: dict[str, Value] = {
            "model": "voice+face",
            "subject_id": subject_id,
            "max_fmr": max_fmr,
            "require": require,
            "max_fmr_each": max_fmr_each,
        }
        parts = _parts("voice_file", [voice_sample]) + _parts("face_file", [face_sample])
        return self._post("verify", FusedVerifyAnswer, fields, parts)

    def compare(
        self,
        sample_a: Sample,
        sample_b: Sample,
        model: str = "voice",
        dim: int | None = None,
        max_fmr: float | None = None,
        face: str | None = None,
    ) -> VerifyAnswer:
        """Compare two samples; nothing is stored."""
        fields = {"model": model, "dim": dim, "max_fmr": max_fmr, "face": face}
        return self._post("compare", VerifyAnswer, fields, _parts("file_a", [sample_a]) + _parts("file_b", [sample_b]))

    def identify(
        self,
        sample: Sample,
        model: str = "voice",
        top_k: int | None = None,
        dim: int | None = None,
        max_fpir: float | None = None,
        face: str | None = None,
    ) -> IdentifyAnswer:
        """Search a sample in the gallery; `match` is None for a stranger."""
        fields = {"model": model, "top_k": top_k, "dim": dim, "max_fpir": max_fpir, "face": face}
        return self._post("identify", IdentifyAnswer, fields, _parts("file", [sample]))

    def subjects(self, limit: int = 100, cursor: str | None = None) -> SubjectsAnswer:
        """A page of subjects."""
        parameters = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        return _answer(self._send("GET", "/v1/subjects", params=parameters), SubjectsAnswer)

    def subject(self, subject_id: str) -> SubjectAnswer:
        """One subject and its templates."""
        return _answer(self._send("GET", f"/v1/subjects/{quote(subject_id, safe='')}"), SubjectAnswer)

    def delete_subject(self, subject_id: str) -> None:
        """Delete a subject with the templates of every model."""
        self._send("DELETE", f"/v1/subjects/{quote(subject_id, safe='')}")

    def delete_template(self, template_id: str) -> None:
        """Delete one template."""
        self._send("DELETE", f"/v1/templates/{quote(template_id, safe='')}")

    def models(self) -> ModelsAnswer:
        """The served bundles."""
        return _answer(self._send("GET", "/v1/models"), ModelsAnswer)

    def gallery_sizes(self) -> dict[tuple[str, str], int]:
        """Subjects in each gallery of the service, keyed by tenant and model."""
        text = self._send("GET", "/metrics").text
        families = {family.name: family for family in text_string_to_metric_families(text)}
        gallery = families.get(GALLERY_METRIC)
        return {
            (sample.labels["tenant"], sample.labels["model"]): int(sample.value)
            for sample in (gallery.samples if gallery else ())
        }

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until the service is ready.

        Raises: ServiceUnreachableError: it is not, timeout_s seconds later.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                remaining_s = max(SHORTEST_WAIT_S, deadline - time.monotonic())
                _answer(self._send("GET", "/readyz", timeout_s=min(self._timeout_s, remaining_s)), HealthAnswer)
                return
            except (ServiceUnreachableError, RequestFailedError) as error:
                if isinstance(error, RequestFailedError) and error.status != 503:
                    raise
                if time.monotonic() >= deadline:
                    raise ServiceUnreachableError(
                        f"The service is not ready after {timeout_s:g} s.",
                        value=self._url,
                        remedy="Start it with `matchka serve` and look at its log.",
                    ) from error
            time.sleep(POLL_S)

    def _post(self, call: str, kind: type[AnswerT], fields: Mapping[str, Value], parts: list[Part]) -> AnswerT:
        given = {name: str(value) for name, value in fields.items() if value is not None}
        return _answer(self._send("POST", f"/v1/{call}", data=given, files=parts), kind)

    def _send(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        data: dict[str, str] | None = None,
        files: list[Part] | None = None,
        timeout_s: float | None = None,
    ) -> requests.Response:
        try:
            response = self._session.request(
                method, self._url + path, params=params, data=data, files=files, timeout=timeout_s or self._timeout_s
            )
        except requests.RequestException as error:
            raise ServiceUnreachableError(
                _what_failed(error, timeout_s or self._timeout_s),
                value=self._url,
                remedy="Start it with `matchka serve`, or set MATCHKA_URL to where it runs.",
            ) from error
        if not response.ok:
            raise _failure(response)
        return response


class _Bearer(requests.auth.AuthBase):
    """Puts the key into every request, where an entry of .netrc cannot replace it."""

    def __init__(self, api_key: str) -> None:
        self._header = f"Bearer {api_key}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


def _checked_url(url: str) -> str:
    """The address without its last slash.

    >>> _checked_url("http://127.0.0.1:8000/")
    'http://127.0.0.1:8000'
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or above 65535
        is_address = False
    if not is_address:
        raise SettingsError(
            "This is no address of a service.",
            value=url,
            remedy="Write MATCHKA_URL (--url) as http://HOST:PORT, for example http://127.0.0.1:8000.",
        )
    return url.rstrip("/")


def _checked_key(api_key: str) -> str:
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise SettingsError(
            "An API key holds printable ASCII characters without spaces only.",
            remedy="Copy the service's key into MATCHKA_API_KEY once more.",
        )
    return api_key


def _what_failed(error: requests.RequestException, timeout_s: float) -> str:
    """The nearest reason that can be told from outside, without the library's own words."""
    if isinstance(error, requests.Timeout):
        return f"The service does not answer within {timeout_s:g} s."
    if isinstance(error, requests.exceptions.SSLError):
        return "No trusted TLS connection to the service can be made; http:// needs none."
    return "The service does not answer."


def _parts(name: str, samples: list[Sample]) -> list[Part]:
    if not samples:
        raise MissingFieldError("There is no sample to send.", value=name, remedy="Name at least one file.")
    return [(name, _named_bytes(sample)) for sample in samples]


def _named_bytes(sample: Sample) -> tuple[str, bytes]:
    if isinstance(sample, bytes):
        return "sample", sample
    path = Path(sample)
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise InvalidFieldError(
            "The file cannot be read.", value=path, remedy=f"Check the path ({error.strerror})."
        ) from error


def _answer(response: requests.Response, kind: type[AnswerT]) -> AnswerT:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise ServiceUnreachableError(
            "What answered is not a matchka service of this version.", value=response.url, remedy="Check the URL."
        ) from error


def _failure(response: requests.Response) -> RequestFailedError | ServiceUnreachableError:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return ServiceUnreachableError(
            f"What answered with status {response.status_code} is not a matchka service.",
            value=response.url,
            remedy="Check the URL.",
        )
    return RequestFailedError(
        problem.detail,
        remedy=REMEDIES.get(problem.code, problem.remedy),
        value=problem.value,
        status=problem.status,
        code=problem.code,
    )
