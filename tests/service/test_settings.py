"""Settings: every variable is known, in range, or refused by its name."""

import os
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from matchka.errors import KeyRequiredError, SettingsError
from matchka.modalities import read_limits
from matchka.settings import DatabaseSettings, FeedSettings, MilvusSettings, Settings, read_settings

KEY = "0123456789abcdef"
KINDS = {"audio": "audio", "face": "image"}  # of manifests, by the name in settings
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_read_settings_of_an_empty_environment_are_those_of_the_design():
    settings = read_settings({})
    assert (settings.host, settings.port, settings.api_key) == ("127.0.0.1", 8000, None)
    assert (settings.models_dir, settings.data_dir) == (Path("models"), Path("data"))
    assert settings.effective_database_url == "sqlite:///data/matchka.sqlite"
    assert settings.max_in_flight >= 64
    assert settings.max_files == 32


def test_read_settings_takes_every_field_from_its_variable():
    given = {
        "MATCHKA_HOST": "0.0.0.0",
        "MATCHKA_PORT": "9000",
        "MATCHKA_HEALTH_PORT": "9001",
        "MATCHKA_DRAIN_S": "7.5",
        "MATCHKA_ALLOWED_ORIGINS": "https://a.example, http://localhost:3000",
        "MATCHKA_TRUSTED_PROXIES": "10.0.0.1, fd00::/8",
        "MATCHKA_MAX_CONNECTIONS": "99",
        "MATCHKA_URL": "http://elsewhere:1",
        "MATCHKA_API_KEY": KEY,
        "MATCHKA_TLS_CERTIFICATE": "/tls.crt",
        "MATCHKA_TLS_KEY": "/tls.key",
        "MATCHKA_CA_FILE": "/ca.pem",
        "MATCHKA_DOCS": "open",
        "MATCHKA_PAGE": "false",
        "MATCHKA_MODELS_DIR": "/m",
        "MATCHKA_MODELS": "voice, face,",
        "MATCHKA_TRUSTED_BUNDLE_KEYS": "a, b",
        "MATCHKA_DATA_DIR": "/d",
        "MATCHKA_DATABASE_URL": "sqlite:///x.sqlite",
        "MATCHKA_MASTER_KEY_FILE": "/k/master.key",
        "MATCHKA_MASTER_KEY_COMMAND": "print-key",
        "MATCHKA_CREATE_MASTER_KEY": "1",
        "MATCHKA_KEY_DATABASE_URL": "sqlite:////k/keys.sqlite",
        "MATCHKA_KEY_BACKUP_FILE": "/c/keys.copy",
        "MATCHKA_SUBJECT_HASH_KEY_FILE": "/k/subject-hash.key",
        "MATCHKA_MAX_BODY_MIB": "1.5",
        "MATCHKA_MAX_FILES": "3",
        "MATCHKA_MAX_BODIES_MIB": "100.5",
        "MATCHKA_MAX_IDLE_S": "2.5",
        "MATCHKA_MAX_UPLOAD_S": "9.5",
        "MATCHKA_MIN_UPLOAD_KIB_S": "2.5",
        "MATCHKA_MAX_IN_FLIGHT": "65",
        "MATCHKA_REQUEST_TIMEOUT_S": "12.5",
        "MATCHKA_CORES": "3",
        "MATCHKA_PROCESSES": "2",
        "MATCHKA_DEVICE": "gpu",
        "MATCHKA_GRAPH": "auto",
        "MATCHKA_GPU_HALF_PRECISION": "true",
        "MATCHKA_CHALLENGE_MODEL": "phones",
        "MATCHKA_CHALLENGE_LIFETIME_S": "30.5",
        "MATCHKA_OPEN_CHALLENGES": "2",
        "MATCHKA_CHALLENGES_PER_HOUR": "7",
        "MATCHKA_HEAD_TURN": "1",
        "MATCHKA_FAILED_TRIES_PER_HOUR": "9",
        "MATCHKA_LONGEST_LOCKOUT_S": "600.5",
        "MATCHKA_DELETION_LOG_DAYS": "90",
        "MATCHKA_IDEMPOTENCY_HOURS": "12.5",
        "MATCHKA_ENROLMENT_REQUIRES": "consent, purpose",
        "MATCHKA_ON_DUPLICATE": "refuse",
        "MATCHKA_LOG_LEVEL": "warning",
        "MATCHKA_LOG_FORMAT": "json",
        "MATCHKA_TRACES_URL": "http://collector:4318/v1/traces",
        "MATCHKA_GALLERY": "milvus",
    }
    of_sections = {"modalities", "audit", "database", "feed", "milvus"}
    assert {name.removeprefix("MATCHKA_").lower() for name in given} == set(Settings.model_fields) - of_sections
    settings = read_settings({**given, "PATH": "/bin", "XMATCHKA_PORT": "1"})
    read = {name: getattr(settings, name) for name in Settings.model_fields}
    assert read.pop("api_key").get_secret_value() == KEY
    assert read.pop("modalities") == {}
    assert read.pop("database") == DatabaseSettings()
    assert read.pop("feed") == FeedSettings()
    assert read.pop("milvus") == MilvusSettings()
    assert read.pop("audit").model_dump() == {"enabled": True, "days": 90.0}
    assert read == {
        "host": "0.0.0.0",
        "port": 9000,
        "health_port": 9001,
        "drain_s": 7.5,
        "allowed_origins": ("https://a.example", "http://localhost:3000"),
        "trusted_proxies": ("10.0.0.1", "fd00::/8"),
        "max_connections": 99,
        "url": "http://elsewhere:1",
        "tls_certificate": Path("/tls.crt"),
        "tls_key": Path("/tls.key"),
        "ca_file": Path("/ca.pem"),
        "docs": "open",
        "page": False,
        "models_dir": Path("/m"),
        "models": ("voice", "face"),
        "trusted_bundle_keys": "a, b",
        "data_dir": Path("/d"),
        "database_url": "sqlite:///x.sqlite",
        "master_key_file": Path("/k/master.key"),
        "master_key_command": "print-key",
        "create_master_key": True,
        "key_database_url": "sqlite:////k/keys.sqlite",
        "key_backup_file": Path("/c/keys.copy"),
        "subject_hash_key_file": Path("/k/subject-hash.key"),
        "max_body_mib": 1.5,
        "max_files": 3,
        "max_bodies_mib": 100.5,
        "max_idle_s": 2.5,
        "max_upload_s": 9.5,
        "min_upload_kib_s": 2.5,
        "device": "gpu",
        "graph": "auto",
        "gpu_half_precision": True,
        "max_in_flight": 65,
        "request_timeout_s": 12.5,
        "cores": 3,
        "processes": 2,
        "challenge_model": "phones",
        "challenge_lifetime_s": 30.5,
        "open_challenges": 2,
        "challenges_per_hour": 7,
        "head_turn": True,
        "failed_tries_per_hour": 9,
        "longest_lockout_s": 600.5,
        "deletion_log_days": 90,
        "idempotency_hours": 12.5,
        "enrolment_requires": ("consent", "purpose"),
        "on_duplicate": "refuse",
        "log_level": "warning",
        "log_format": "json",
        "traces_url": "http://collector:4318/v1/traces",
        "gallery": "milvus",
    }
    assert settings.effective_database_url == "sqlite:///x.sqlite"


def test_read_settings_of_milvus_take_the_token_from_a_file(tmp_path: Path):
    (tmp_path / "token").write_text("root:a secret\n")
    settings = read_settings(
        {
            "MATCHKA_GALLERY": "milvus",
            "MATCHKA_MILVUS__URI": "https://milvus:19530",
            "MATCHKA_MILVUS__TOKEN_FILE": str(tmp_path / "token"),
            "MATCHKA_MILVUS__CA_FILE": "/ca.pem",
            "MATCHKA_MILVUS__TIMEOUT_S": "2.5",
            "MATCHKA_MILVUS__PREFIX": "voices",
            "MATCHKA_MILVUS__INDEX": "hnsw",
            "MATCHKA_MILVUS__PLAINTEXT": "accepted",
        }
    )
    assert settings.milvus.token.get_secret_value() == "root:a secret"
    assert "secret" not in repr(settings)
    assert settings.milvus.model_dump(exclude={"token"}) == {
        "uri": "https://milvus:19530",
        "ca_file": Path("/ca.pem"),
        "timeout_s": 2.5,
        "prefix": "voices",
        "index": "hnsw",
        "plaintext": "accepted",
    }


@pytest.mark.parametrize("uri", ["milvus:19530", "/data/galleries", "tcp://milvus:19530"])
def test_read_settings_with_an_address_of_milvus_that_is_none_are_refused(uri: str):
    with pytest.raises(SettingsError, match="MATCHKA_MILVUS__URI"):
        read_settings({"MATCHKA_MILVUS__URI": uri})


def test_processes_that_would_share_a_file_of_milvus_are_refused():
    shared = {"MATCHKA_GALLERY": "milvus", "MATCHKA_PROCESSES": "2"}
    read_settings({**shared, "MATCHKA_MILVUS__URI": "http://milvus:19530"}).require_room_for_processes()
    with pytest.raises(SettingsError, match="one process"):
        read_settings({**shared, "MATCHKA_MILVUS__URI": "/data/lite.db"}).require_room_for_processes()


def test_read_settings_of_the_audit_log_are_its_sections():
    settings = read_settings(
        {"MATCHKA_AUDIT__ENABLED": "false", "MATCHKA_AUDIT__DAYS": "7.5", "MATCHKA_FACE__MAX_FACES": "3"}
    )
    assert settings.audit.model_dump() == {"enabled": False, "days": 7.5}
    assert settings.modalities == {"face": {"max_faces": "3"}}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/"}, "http://c:4318/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"}, "http://t/x"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "MATCHKA_TRACES_URL": "http://own/x"}, "http://own/x"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "MATCHKA_TRACES_URL": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_traces_url_is_ours_or_that_of_the_standard_variables(given: dict[str, str], url: str | None):
    assert read_settings(given).traces_url == url


@pytest.mark.parametrize("name", ["AUDIT__DAYZ", "AUDIT__DAYS", "AUDIT__ENABLED"])
def test_read_settings_of_the_audit_log_that_are_none_are_refused_by_their_names(name: str):
    with pytest.raises(SettingsError, match=f"MATCHKA_{name}"):
        read_settings({f"MATCHKA_{name}": "-1"})


def test_read_settings_takes_the_cores_of_the_process_by_default():
    assert read_settings({}).cores == CORES


def test_read_settings_of_the_process_environment_are_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MATCHKA_PORT", "9123")
    assert read_settings().port == 9123
    monkeypatch.setenv("MATCHKA_PROT", "9123")
    with pytest.raises(SettingsError, match="MATCHKA_PROT"):
        read_settings()


@pytest.mark.parametrize(
    "name", ["MATCHKA_PROT", "MATCHKA_", "MATCHKA_MAX_BODY", "matchka_unknown", "MATCHKA_MODALITIES"]
)
def test_read_settings_with_an_unknown_variable_is_refused(name: str):
    with pytest.raises(SettingsError, match="no such setting") as refused:
        read_settings({name: "1"})
    assert refused.value.value == name.upper()
    assert "MATCHKA_MAX_BODY_MIB" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", ""),
        ("HEALTH_PORT", "0"),
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "10.0.0.1,proxy.example"),
        ("ALLOWED_ORIGINS", "https://b\u00fccher.example"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://a.example/page"),
        ("ALLOWED_ORIGINS", "https://a.example,b.example"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_BODY_MIB", "0"),
        ("MAX_BODY_MIB", "-1"),
        ("MAX_BODY_MIB", "nan"),
        ("MAX_FILES", "0"),
        ("MAX_FILES", "33"),
        ("MAX_IN_FLIGHT", "0"),
        ("REQUEST_TIMEOUT_S", "0"),
        ("CORES", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("TRACES_URL", "collector:4317"),
    ],
)
def test_read_settings_with_a_value_out_of_range_names_the_variable_and_the_value(name: str, value: str):
    with pytest.raises(SettingsError, match=f"MATCHKA_{name}: ") as refused:
        read_settings({f"MATCHKA_{name}": value})
    assert refused.value.value == value


def test_read_settings_overrides_win_and_none_leaves_the_environment():
    settings = read_settings({"MATCHKA_PORT": "9000", "MATCHKA_HOST": "::1"}, port=9001, host=None)
    assert (settings.port, settings.host) == (9001, "::1")


def test_settings_once_read_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        read_settings({}).port = 1


def test_settings_shown_hide_the_key():
    assert KEY not in repr(read_settings({"MATCHKA_API_KEY": KEY}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_require_key_beyond_loopback_on_loopback_lets_pass_without_key(host: str):
    settings = read_settings({"MATCHKA_HOST": host})
    assert settings.is_loopback
    settings.require_key_beyond_loopback()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", "", "0", "127.0.0.1.example.org"])
def test_require_key_beyond_loopback_elsewhere_refuses_without_key_and_passes_with_one(host: str):
    with pytest.raises(KeyRequiredError) as refused:
        read_settings({"MATCHKA_HOST": host}).require_key_beyond_loopback()
    assert "MATCHKA_API_KEY" in refused.value.remedy
    read_settings({"MATCHKA_HOST": host, "MATCHKA_API_KEY": KEY}).require_key_beyond_loopback()


@pytest.mark.parametrize("key", ["", "short", KEY[:-1]])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_require_key_beyond_loopback_refuses_a_key_that_can_be_guessed(host: str, key: str):
    with pytest.raises(KeyRequiredError, match="at least 16") as refused:
        read_settings({"MATCHKA_HOST": host, "MATCHKA_API_KEY": key}).require_key_beyond_loopback()
    assert not key or key not in str(refused.value)


def test_allowed_origins_are_read_as_browsers_send_them():
    given = "https://Example.com:443,HTTP://a.example:80,https://a.example:80,http://[::1]:8080"
    expected = ("https://example.com", "http://a.example", "https://a.example:80", "http://[::1]:8080")
    assert read_settings({"MATCHKA_ALLOWED_ORIGINS": given}).allowed_origins == expected


def test_health_port_that_is_empty_is_none():
    assert read_settings({"MATCHKA_HEALTH_PORT": ""}).health_port is None


def test_require_key_beyond_loopback_refuses_other_origins_without_a_key():
    given = {"MATCHKA_ALLOWED_ORIGINS": "https://a.example"}
    with pytest.raises(KeyRequiredError, match="other origins"):
        read_settings(given).require_key_beyond_loopback()
    read_settings({**given, "MATCHKA_API_KEY": KEY}).require_key_beyond_loopback()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MAX_AUDIO_S", "AUDIO__MAX_S"),
        ("MIN_SPEECH_S", "AUDIO__MIN_SPEECH_S"),
        ("MAX_IMAGE_MEGAPIXELS", "FACE__MAX_MEGAPIXELS"),
        ("MAX_FACES", "FACE__MAX_FACES"),
        ("FACE_MIN_EYE_DISTANCE_PX", "FACE__MIN_EYE_DISTANCE_PX"),
        ("FACE_MIN_SHARPNESS", "FACE__MIN_SHARPNESS"),
        ("FACE_MAX_YAW", "FACE__MAX_YAW"),
        ("FACE_MIN_VISIBLE", "FACE__MIN_VISIBLE"),
    ],
)
def test_read_settings_with_a_name_of_before_is_refused_with_the_name_of_today(old: str, new: str):
    with pytest.raises(SettingsError, match="another name now") as refused:
        read_settings({f"MATCHKA_{old}": "1"})
    assert (refused.value.value, refused.value.remedy) == (f"MATCHKA_{old}", f"Set MATCHKA_{new} instead.")
    limits = read_limits(read_settings({f"MATCHKA_{new}": "1"}).modalities)
    (section, name) = new.lower().split("__")
    assert getattr(limits[KINDS[section]], name) == 1


def test_read_settings_with_the_threads_that_decode_is_refused_with_the_cores_of_today():
    with pytest.raises(SettingsError, match="another name now") as refused:
        read_settings({"MATCHKA_DECODE_THREADS": "1"})
    assert refused.value.remedy == "Set MATCHKA_CORES instead."
    assert read_settings({"MATCHKA_CORES": "1"}).cores == 1


@pytest.mark.parametrize(
    "name", ["WORKERS", "SESSION_THREADS", "BATCH_ROWS", "BATCH_WAIT_MS", "BATCH_QUEUE_ROWS", "BATCH_LANES"]
)
def test_read_settings_with_a_setting_that_is_gone_is_refused_and_says_so(name: str):
    with pytest.raises(SettingsError, match="is gone") as refused:
        read_settings({f"MATCHKA_{name}": "1"})
    assert refused.value.value == f"MATCHKA_{name}"
    assert refused.value.remedy.startswith("Unset it;")


def test_key_store_is_in_the_data_folder_by_default_and_never_in_the_templates_database():
    assert read_settings({"MATCHKA_DATA_DIR": "/d"}).effective_key_database_url == "sqlite:////d/keys/keys.sqlite"
    one = {"MATCHKA_DATABASE_URL": "postgresql+psycopg://h/a", "MATCHKA_KEY_DATABASE_URL": "postgresql+psycopg://h/a"}
    with pytest.raises(SettingsError, match="database of its own"):
        read_settings(one).require_one_master_key()


def test_master_key_from_two_places_is_refused():
    two = {"MATCHKA_MASTER_KEY_FILE": "/k", "MATCHKA_MASTER_KEY_COMMAND": "print-key"}
    with pytest.raises(SettingsError, match="both set"):
        read_settings(two).require_one_master_key()
    read_settings({**two, "MATCHKA_MASTER_KEY_COMMAND": ""}).require_one_master_key()


@pytest.mark.parametrize("count", ["0", "-1", "129", "two", "1.5"])
def test_number_of_processes_out_of_range_is_refused_by_name(count: str):
    with pytest.raises(SettingsError, match="MATCHKA_PROCESSES"):
        read_settings({"MATCHKA_PROCESSES": count})


@pytest.mark.parametrize(("processes", "cores"), [(1, 4), (2, 4), (3, 4), (4, 4), (3, 7), (4, 2)])
def test_processes_share_cores_places_and_memory(processes: int, cores: int):
    whole = read_settings({"MATCHKA_PROCESSES": str(processes), "MATCHKA_CORES": str(cores)})
    parts = [whole.of_process(number) for number in range(1, processes + 1)]
    assert sum(part.cores for part in parts) == max(cores, processes)
    assert max(part.cores for part in parts) - min(part.cores for part in parts) <= 1
    for name in ("max_in_flight", "max_connections", "max_bodies_mib"):
        shares = [getattr(part, name) for part in parts]
        assert getattr(whole, name) <= sum(shares) < getattr(whole, name) + processes
    assert {part.processes for part in parts} == {processes}


def test_process_has_room_for_one_body_at_least():
    whole = read_settings({"MATCHKA_PROCESSES": "64", "MATCHKA_MAX_BODY_MIB": "20"})
    assert whole.of_process(1).max_bodies_mib == 20


def test_several_processes_on_a_gpu_are_refused():
    read_settings({"MATCHKA_PROCESSES": "1", "MATCHKA_DEVICE": "gpu"}).require_room_for_processes()
    with pytest.raises(SettingsError, match="GPU"):
        read_settings({"MATCHKA_PROCESSES": "2", "MATCHKA_DEVICE": "gpu"}).require_room_for_processes()


def test_several_processes_on_windows_are_refused(monkeypatch: pytest.MonkeyPatch):
    several = read_settings({"MATCHKA_PROCESSES": "2"})
    several.require_room_for_processes()
    monkeypatch.setattr(sys, "platform", "win32")
    read_settings({"MATCHKA_PROCESSES": "1"}).require_room_for_processes()
    with pytest.raises(SettingsError, match="Windows"):
        several.require_room_for_processes()


def test_database_settings_are_a_section_of_their_own():
    given = {
        "MATCHKA_DATABASE__POOL_SIZE": "7",
        "MATCHKA_DATABASE__POOL_TIMEOUT_S": "1.5",
        "MATCHKA_DATABASE__CONNECT_TIMEOUT_S": "3",
        "MATCHKA_DATABASE__STATEMENT_TIMEOUT_S": "2.5",
        "MATCHKA_AUDIO__MAX_S": "7",
    }
    settings = read_settings(given)
    assert settings.database == DatabaseSettings(
        pool_size=7, pool_timeout_s=1.5, connect_timeout_s=3, statement_timeout_s=2.5
    )
    assert settings.modalities == {"audio": {"max_s": "7"}}


@pytest.mark.parametrize(
    ("name", "value"), [("POOL_SIZE", "1"), ("CONNECT_TIMEOUT_S", "1"), ("STATEMENT_TIMEOUT_S", "inf"), ("WAIT", "3")]
)
def test_database_setting_out_of_range_or_unknown_is_named(name: str, value: str):
    with pytest.raises(SettingsError, match=f"MATCHKA_DATABASE__{name}"):
        read_settings({f"MATCHKA_DATABASE__{name}": value})


@pytest.mark.parametrize("name", ["API_KEY", "DATABASE_URL", "KEY_DATABASE_URL"])
def test_secret_in_a_file_is_read_from_it(tmp_path: Path, name: str):
    file = tmp_path / "secret"
    file.write_text(f"  postgresql://u:p@db/{KEY}\n")
    given = {f"MATCHKA_{name}_FILE": str(file), f"MATCHKA_{name}": ""}  # emptied: an image may set a default
    found = getattr(read_settings(given), name.lower())
    assert (found.get_secret_value() if name == "API_KEY" else found) == f"postgresql://u:p@db/{KEY}"


@pytest.mark.parametrize(
    ("content", "beside", "named"),
    [
        (None, {}, "MATCHKA_API_KEY_FILE cannot be read"),
        (b"\xff\xfe", {}, "MATCHKA_API_KEY_FILE cannot be read"),
        (b" \n", {}, "empty file"),
        (KEY.encode(), {"MATCHKA_API_KEY": KEY}, "both set"),
    ],
)
def test_secret_file_that_is_none_or_beside_the_secret_is_refused(
    tmp_path: Path, content: bytes | None, beside: dict[str, str], named: str
):
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=named) as refused:
        read_settings({"MATCHKA_API_KEY_FILE": str(file), **beside})
    assert KEY not in str(refused.value)


def test_file_of_a_setting_that_is_no_secret_is_unknown():
    with pytest.raises(SettingsError, match="no such setting"):
        read_settings({"MATCHKA_HOST_FILE": "/host"})
