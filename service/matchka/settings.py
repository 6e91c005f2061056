"""Settings: one frozen value, and the only reader of the environment."""

import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from matchka.errors import KeyRequiredError, SettingsError

PREFIX: Final = "MATCHKA_"
SHORTEST_KEY: Final = 16  # characters; a shorter one can be guessed over a network
ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
OTLP_PATH: Final = "/v1/traces"  # of traces, below a collector's address
SECTION_MARK: Final = "__"  # between a modality, or another section, and one of its settings
SECTIONS: Final = frozenset({"audit", "database", "feed", "milvus"})  # that are no modalities
IN_FILES: Final = (
    "api_key",
    "database_url",
    "key_database_url",
    "milvus__token",
)  # or by MATCHKA_<NAME>_FILE, as secrets are mounted
RENAMED: Final = {
    "max_audio_s": "audio__max_s",
    "min_speech_s": "audio__min_speech_s",
    "max_image_megapixels": "face__max_megapixels",
    "max_faces": "face__max_faces",
    "face_min_eye_distance_px": "face__min_eye_distance_px",
    "face_min_sharpness": "face__min_sharpness",
    "face_max_yaw": "face__max_yaw",
    "face_min_visible": "face__min_visible",
    "decode_threads": "cores",
}
# what docs/decisions/050 and 053 found best is always used
GONE: Final = frozenset(
    {"workers", "session_threads", "batch_rows", "batch_wait_ms", "batch_queue_rows", "batch_lanes"}
)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _split(value: str) -> tuple[str, ...]:
    """The parts of a list that is separated by commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _read_names(value: object) -> object:
    """Split a list at its commas."""
    return _split(value) if isinstance(value, str) else value


def _read_origins(value: object) -> object:
    """Split a list at its commas, and accept what a browser sends as an origin."""
    if not isinstance(value, str):
        return value
    origins = _split(value)
    if not all(ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be http:// or https:// and a host each, in ASCII, without a path, and never *")
    return tuple(_as_browsers_write(origin) for origin in origins)


def _as_browsers_write(origin: str) -> str:
    """An origin in lower case and without its scheme's own port: only what is equal to the header is allowed.

    >>> _as_browsers_write("HTTPS://Example.com:443"), _as_browsers_write("http://a:8080")
    ('https://example.com', 'http://a:8080')
    """
    scheme, _, host = origin.lower().partition("://")
    return f"{scheme}://{host.removesuffix(DEFAULT_PORTS[scheme])}"


def _read_proxies(value: object) -> object:
    """Split a list of addresses and networks at its commas."""
    if not isinstance(value, str):
        return value
    proxies = _split(value)
    for proxy in proxies:
        try:
            ip_network(proxy)
        except ValueError as error:
            raise ValueError(f"must be IP addresses or networks such as 10.0.0.0/8, never *: {error}") from error
    return proxies


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


class DatabaseSettings(BaseModel):
    """How a database server is used: MATCHKA_DATABASE__ + a name in capitals. An SQLite file needs none of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool_size: int = Field(16, ge=2, le=1000, description="Connections of a process to a database server, at most.")
    pool_timeout_s: float = Field(
        5.0, gt=0, allow_inf_nan=False, description="Longest wait for one of them; then a request is answered 503."
    )
    connect_timeout_s: int = Field(5, ge=2, le=600, description="Longest time to connect to the server.")
    statement_timeout_s: float = Field(
        10.0, ge=0.1, allow_inf_nan=False, description="Longest time of a statement; then a request is answered 503."
    )


class AuditSettings(BaseModel):
    """The audit log, by the variables MATCHKA_AUDIT__ + a name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="Keep an audit log: who asked for what, and what was decided.")
    days: float = Field(90.0, gt=0, le=36500, allow_inf_nan=False, description="Days that its records are kept.")


class FeedSettings(BaseModel):
    """How galleries follow the store, by the variables MATCHKA_FEED__ + a name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    poll_ms: float = Field(
        50.0, ge=1, le=60_000, description="Milliseconds between two looks at the store's changes, at most."
    )
    wait_s: float = Field(
        2.0, gt=0, allow_inf_nan=False, description="Longest wait of one call until the gallery shows a change."
    )
    stale_s: float = Field(
        10.0,
        gt=0,
        allow_inf_nan=False,
        description="For so long may the gallery fail to follow the store before /readyz answers 503.",
    )
    kept_hours: float = Field(
        24.0, gt=0, le=8760, description="For so long changes are kept; whoever slept longer fills its gallery anew."
    )


class MilvusSettings(BaseModel):
    """Galleries in Milvus, where MATCHKA_GALLERY=milvus: the variables MATCHKA_MILVUS__ + a name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(
        "",
        pattern=r"^(|https?://.+|.+\.db)$",
        description="http://HOST:PORT or https://HOST:PORT of the server, or a file NAME.db of Milvus Lite.",
    )
    token: SecretStr = Field(SecretStr(""), description="USER:PASSWORD, or a key of the server.")
    ca_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="PEM file of authorities that the server's certificate is checked with."
    )
    prefix: str = Field(
        "matchka",
        pattern="^[a-z][a-z0-9]{0,31}$",
        description="What the names of all its collections begin with; each store needs one of its own.",
    )
    index: Literal["flat", "hnsw"] = Field(
        "flat", description="How it searches: every reference is compared, or the likely ones by a graph."
    )
    timeout_s: float = Field(
        5.0, ge=0.1, le=600, allow_inf_nan=False, description="Longest time of a call; then a search is answered 503."
    )
    plaintext: Literal["refused", "accepted"] = Field(
        "refused",
        description="Whether references may lie there in clear while the store's are encrypted: Milvus can hold no "
        "others.",
    )


class Settings(BaseSettings):
    """All that can be configured, each by the variable MATCHKA_ + its name in capitals; sections by several."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    health_port: Annotated[int | None, BeforeValidator(_none_if_empty)] = Field(
        None, ge=1, le=65535, description="Port of a second listener with /healthz, /readyz and /metrics only."
    )
    drain_s: float = Field(
        0.0,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="Time from SIGTERM on for which requests are still taken while /readyz answers 503.",
    )
    tls_certificate: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="PEM file of the certificate chain for https; read again when it changes."
    )
    tls_key: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="PEM file of the certificate's private key."
    )
    url: str = Field("http://127.0.0.1:8000", description="Where the command line and the client find the service.")
    ca_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="PEM file of authorities that the command line and the client trust, instead of the system's."
    )
    api_key: SecretStr | None = Field(None, description="The first API key; needed on any but a loopback address.")
    docs: str = Field(
        "key", pattern="^(key|open|off)$", description="Who may read /docs: callers with a key, everybody, nobody."
    )
    page: bool = Field(True, description="Serve the page for browsers at /; it asks for a key where one is needed.")
    allowed_origins: Annotated[tuple[str, ...], BeforeValidator(_read_origins)] = Field(
        (), description="Origins whose pages may call, separated by commas; needs a key."
    )
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_read_proxies)] = Field(
        (), description="Addresses or networks of proxies, separated by commas, whose X-Forwarded-For is believed."
    )
    models_dir: Path = Field(Path("models"), description="Folder of bundles.")
    models: Annotated[tuple[str, ...], BeforeValidator(_read_names)] = Field(
        (),
        description="Names of the models that are served, separated by commas; all of the folder by default.",
    )
    trusted_bundle_keys: str = Field(
        "", description="Public keys, separated by commas: every bundle and fusion needs a signature of one of them."
    )
    data_dir: Path = Field(Path("data"), description="Folder of all that the service writes.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; SQLite in the data folder by default.")
    database: DatabaseSettings = DatabaseSettings()
    master_key_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="File of the master key (`matchka vault create-key`): templates are encrypted."
    )
    master_key_command: Annotated[str | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="Command that prints the master key, in place of a file."
    )
    create_master_key: bool = Field(
        False, description="Make the file of the master key at a start where it is missing and no key was ever used."
    )
    key_database_url: str | None = Field(
        None, description="SQLAlchemy URL of the key store; keys/keys.sqlite in the data folder by default."
    )
    key_backup_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="A copy of the key store that the service writes anew within a minute of a change."
    )
    subject_hash_key_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="File of the key that hashes subject ids; in the data folder by default, or in the key store."
    )
    max_body_mib: float = Field(20.0, gt=0, allow_inf_nan=False, description="Largest request body.")
    max_files: int = Field(32, ge=1, le=32, description="Most files in one request.")
    max_bodies_mib: float = Field(
        256.0, gt=0, allow_inf_nan=False, description="Bodies of one key's requests together; more are answered 503."
    )
    max_idle_s: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="Longest time to begin a request, or to take nothing of an answer."
    )
    max_upload_s: float = Field(60.0, gt=0, allow_inf_nan=False, description="Longest time a body may take to arrive.")
    min_upload_kib_s: float = Field(
        4.0, gt=0, allow_inf_nan=False, description="Least KiB a second at which a body has to arrive."
    )
    max_connections: int = Field(2048, ge=1, description="Connections open at once; more are answered 503.")
    max_in_flight: int = Field(128, ge=1, description="Requests of one key accepted at once; more are answered 503.")
    request_timeout_s: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="Longest time from a body's arrival to the answer."
    )
    cores: int = Field(
        default_factory=usable_cores,
        ge=1,
        description="Cores for decoding, models and searches; all of the process by default.",
    )
    processes: Annotated[int | None, BeforeValidator(_none_if_empty)] = Field(
        None,
        ge=1,
        le=128,
        description="Processes that serve one port and one store; they share cores and limits, and each has models and "
        "galleries in its own memory. By default as many as suit cores and memory.",
    )
    device: str = Field("cpu", pattern="^(cpu|gpu)$", description="Where graphs run and galleries are searched.")
    gallery: Literal["faiss", "onnx", "milvus"] = Field(
        "faiss",
        description="Where galleries lie: in the memory of every process or its GPU, searched by FAISS or by ONNX "
        "Runtime; or in Milvus, which all of them share.",
    )
    milvus: MilvusSettings = MilvusSettings()
    graph: str = Field(
        "float",
        pattern="^(auto|float)$",
        description="Which graph of a bundle runs: the one in 32 bits, or (auto) the cheapest that suits the CPU.",
    )
    gpu_half_precision: bool = Field(False, description="Keep galleries on the GPU as 16-bit numbers.")
    modalities: Mapping[str, Mapping[str, object]] = Field(
        {}, description="Limits by the names of modality and limit: MATCHKA_<MODALITY>__<LIMIT>; it checks them itself."
    )
    challenge_model: Annotated[str | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="Name of the model that hears spoken challenges; needed where several could."
    )
    challenge_lifetime_s: float = Field(
        60.0, gt=0, le=600, allow_inf_nan=False, description="Time within which a challenge has to be answered."
    )
    open_challenges: int = Field(
        3, ge=1, le=1000, description="Challenges of a subject that may be open at once; more are answered 429."
    )
    challenges_per_hour: int = Field(
        20,
        ge=1,
        le=1000,
        description="Challenges that a subject may redeem in an hour, and be given threefold; then 429.",
    )
    head_turn: bool = Field(
        False, description="Offer challenges of kind head_turn. Experimental: how often they refuse is not measured."
    )
    failed_tries_per_hour: int = Field(
        30,
        ge=1,
        le=1_000_000,
        description="Failed verifications of a subject with one key that are free of a wait.",
    )
    longest_lockout_s: float = Field(
        3600.0, ge=0, le=86400, allow_inf_nan=False, description="Longest wait for each of too many failures."
    )
    deletion_log_days: int = Field(
        400,
        ge=1,
        le=36_500,
        description="Days for which the deletion log keeps an entry: longer than any backup is kept.",
    )
    idempotency_hours: float = Field(
        24.0,
        gt=0,
        le=8760,
        allow_inf_nan=False,
        description="Hours for which an enrolment that is sent again with its Idempotency-Key is answered as it was.",
    )
    enrolment_requires: Annotated[tuple[Literal["consent", "purpose"], ...], BeforeValidator(_read_names)] = Field(
        (), description="What every enrolment has to state, separated by commas: consent, purpose."
    )
    feed: FeedSettings = FeedSettings()
    audit: AuditSettings = Field(AuditSettings(), description="The audit log: MATCHKA_AUDIT__<NAME>.")
    on_duplicate: str = Field(
        "report",
        pattern="^(report|refuse)$",
        description="What an enrolment does whose person another subject may be: report it, or refuse the enrolment.",
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least level logged.")
    log_format: Literal["text", "json"] = Field("text", description="The log as lines for people, or of JSON.")
    traces_url: Annotated[str | None, BeforeValidator(_none_if_empty)] = Field(
        None,
        pattern="^https?://",
        description="Where traces are posted, by OTLP over HTTP; OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces by default.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what read_settings hands over, so that an environment given to it is the whole environment."""
        return (init_settings,)

    @field_validator("api_key")
    @classmethod
    def _strip_key(cls, key: SecretStr | None) -> SecretStr | None:
        # a key read from a file often ends with a newline, which no header can carry
        return None if key is None else SecretStr(key.get_secret_value().strip())

    @property
    def own_database(self) -> Path:
        """The file of the database in the data folder, which holds what is enrolled unless another one is named."""
        return self.data_dir / "matchka.sqlite"

    @property
    def effective_database_url(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.own_database}"

    @property
    def effective_key_database_url(self) -> str:
        """The URL of the key store in force."""
        return self.key_database_url or f"sqlite:///{self.data_dir / 'keys' / 'keys.sqlite'}"

    @property
    def audit_checkpoint(self) -> Path:
        """How far the audit log had come."""
        return self.data_dir / "audit.checkpoint"

    @property
    def subject_hash_key(self) -> Path:
        """Where the key that hashes subject ids is kept in force, while there is no key store."""
        return self.subject_hash_key_file or self.data_dir / "subject-hash.key"

    def of_process(self, number: int) -> "Settings":
        """Those of one of several processes: its share of cores, memory, places and connections.

        Args: number: 1..processes.
        """
        processes = self.processes or 1
        cores, more = divmod(self.cores, processes)
        return self.model_copy(
            update={
                "cores": max(1, cores + (number <= more)),
                "max_in_flight": math.ceil(self.max_in_flight / processes),
                "max_bodies_mib": max(self.max_body_mib, self.max_bodies_mib / processes),
                "max_connections": math.ceil(self.max_connections / processes),
            }
        )

    def with_processes(self, count: Callable[["Settings"], int]) -> "Settings":
        """The same with a number of processes, where none is said.

        Args: count: of processes that suit this machine. It is asked where several were measured to be better: on
            Linux, with graphs on the CPU and a database of the service's own; elsewhere there is one.
        """
        if self.processes is not None:
            return self
        is_suited = sys.platform == "linux" and self.device == "cpu" and self.database_url is None
        is_suited = is_suited and not self._has_galleries_in_a_file
        return self.model_copy(update={"processes": count(self) if is_suited else 1})

    @property
    def _has_galleries_in_a_file(self) -> bool:
        """Whether galleries lie in a file of Milvus Lite, which one process opens."""
        return self.gallery == "milvus" and self.milvus.uri.endswith(".db")

    def require_room_for_processes(self) -> None:
        """Refuse several processes where they cannot be.

        On Windows, on a GPU, whose memory each would fill, and with a file that one alone may open.

        Raises: SettingsError: there would be.
        """
        several = (self.processes or 1) > 1
        if several and sys.platform == "win32":
            raise SettingsError(
                "On Windows no process can hand connections to another.",
                value=f"{self.processes} processes",
                remedy="Unset MATCHKA_PROCESSES.",
            )
        if several and self.device == "gpu":
            raise SettingsError(
                "Several processes would each keep models and galleries in the GPU's memory, and one keeps it busy.",
                value=f"{self.processes} processes",
                remedy="Unset MATCHKA_PROCESSES, or set MATCHKA_DEVICE=cpu.",
            )
        if several and self._has_galleries_in_a_file:
            raise SettingsError(
                "A file of Milvus Lite is opened by one process.",
                value=f"{self.processes} processes",
                remedy="Unset MATCHKA_PROCESSES, or set MATCHKA_MILVUS__URI to a server.",
            )

    def require_one_master_key(self) -> None:
        """Refuse settings by which keys would lie with what they encrypt, or come from two places.

        Raises: SettingsError: they do.
        """
        if self.master_key_file is not None and self.master_key_command is not None:
            raise SettingsError(
                "MATCHKA_MASTER_KEY_FILE and MATCHKA_MASTER_KEY_COMMAND are both set.", remedy="Unset one of them."
            )
        if self.effective_key_database_url == self.effective_database_url:
            raise SettingsError(
                "The key store needs a database of its own: else its keys would be in the templates' backups.",
                value="MATCHKA_KEY_DATABASE_URL",
                remedy="Name another database.",
            )

    @property
    def is_loopback(self) -> bool:
        """Whether the host can be reached from this machine only."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def require_key_beyond_loopback(self) -> None:
        """Refuse to listen beyond this machine or to answer other origins without a key, or with one that is too short.

        Raises: KeyRequiredError: there is none where one is needed, or it is not one that a header can carry.
        """
        key = self.api_key.get_secret_value() if self.api_key else ""
        if self.api_key is not None and len(key) < SHORTEST_KEY:
            raise KeyRequiredError(
                f"MATCHKA_API_KEY must have at least {SHORTEST_KEY} characters.",
                value=f"{len(key)} characters",
                remedy="Make one with `openssl rand -hex 32`.",
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise KeyRequiredError(
                "MATCHKA_API_KEY may hold printable ASCII characters without spaces only.",
                remedy="Make one with `openssl rand -hex 32`.",
            )
        if not key and self.allowed_origins:
            raise KeyRequiredError(
                "Answering pages of other origins needs an API key.",
                value=", ".join(self.allowed_origins),
                remedy="Set MATCHKA_API_KEY (`openssl rand -hex 32` makes one), or unset MATCHKA_ALLOWED_ORIGINS.",
            )
        if not key and not self.is_loopback:
            raise KeyRequiredError(
                "Listening beyond this machine needs an API key.",
                value=self.host,
                remedy="Set MATCHKA_API_KEY (`openssl rand -hex 32` makes one), or listen on 127.0.0.1.",
            )

    def require_whole_certificate(self) -> None:
        """Refuse a certificate without its key, and the other way round.

        Raises: SettingsError: one of them is not set.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError(
                "A TLS certificate needs its key, and a key its certificate.",
                value=self.tls_certificate or self.tls_key,
                remedy="Set both MATCHKA_TLS_CERTIFICATE and MATCHKA_TLS_KEY, or neither.",
            )


def read_settings(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the settings from the environment.

    Args:
        environment: variables to read; the process's own by default.
        overrides: values from the command line; None leaves the environment's.

    Raises: SettingsError: an unknown MATCHKA_ variable, or a value out of range.
    """
    variables = os.environ if environment is None else environment
    given: dict[str, Any] = {
        name[len(PREFIX) :].lower(): value for name, value in variables.items() if name.upper().startswith(PREFIX)
    }
    _read_secret_files(given)
    sections: dict[str, dict[str, object]] = {}
    for name in [name for name in given if SECTION_MARK in name]:
        modality, _, limit = name.partition(SECTION_MARK)
        sections.setdefault(modality, {})[limit] = given.pop(name)
    _refuse_unknown(set(given))
    given.update({name: sections.pop(name) for name in SECTIONS & sections.keys()})
    if sections:
        given["modalities"] = sections
    if _has_exporter():
        given.setdefault("traces_url", _standard_traces_url(variables))
    given.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + SECTION_MARK.join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{name}: {first['msg']}.", value=first["input"], remedy="Correct the variable.") from error


def _standard_traces_url(variables: Mapping[str, str]) -> str | None:
    """Where OpenTelemetry's standard variables have traces sent, if anywhere.

    >>> _standard_traces_url({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"})
    'http://collector:4318/v1/traces'
    >>> _standard_traces_url({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"})  # of gRPC, for other programs
    """
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true" or variables.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if not variables.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").startswith("http/"):
        return None
    base = variables.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    url = variables.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (base and f"{base.rstrip('/')}{OTLP_PATH}")
    return url if url and url.startswith(("http://", "https://")) else None


def _has_exporter() -> bool:
    """Whether the extra [otel] is installed: variables that a platform sets for all programs do not ask for it."""
    try:
        return bool(distribution("opentelemetry-exporter-otlp-proto-http"))
    except PackageNotFoundError:
        return False


def _read_secret_files(given: dict[str, Any]) -> None:
    """Put what the named files hold in the place of their names."""
    for name in IN_FILES:
        path = given.pop(f"{name}_file", "")
        if not path:
            continue
        variable = f"{PREFIX}{name.upper()}_FILE"
        if given.get(name):
            raise SettingsError(
                "A secret and the file that holds it are both set.", value=variable, remedy="Unset one of the two."
            )
        try:
            given[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{variable} cannot be read.", value=path, remedy="Name a text file that the service's user may read."
            ) from error
        if not given[name]:
            raise SettingsError(f"{variable} names an empty file.", value=path, remedy="Write the secret into it.")


def _refuse_unknown(names: set[str]) -> None:
    renamed = sorted(names & RENAMED.keys())
    if renamed:
        raise SettingsError(
            "The setting has another name now.",
            value=", ".join(PREFIX + name.upper() for name in renamed),
            remedy=f"Set {', '.join(PREFIX + RENAMED[name].upper() for name in renamed)} instead.",
        )
    gone = sorted(names & GONE)
    if gone:
        raise SettingsError(
            "The setting is gone: what was measured best is always used.",
            value=", ".join(PREFIX + name.upper() for name in gone),
            remedy=f"Unset it; {PREFIX}CORES says how many cores may be kept busy.",
        )
    known = [name for name in Settings.model_fields if name not in {"modalities", *SECTIONS}]
    known += [f"{name}_file" for name in IN_FILES]
    unknown = sorted(names - set(known))
    if unknown:
        raise SettingsError(
            "There is no such setting.",
            value=", ".join(PREFIX + name.upper() for name in unknown),
            remedy=f"Unset it, or use one of {', '.join(PREFIX + name.upper() for name in known)}.",
        )
