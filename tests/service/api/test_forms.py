"""Subject ids and the fields of forms: what is accepted, and why the rest is refused."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchka.api.forms import (
    CompareForm,
    EmbedForm,
    EnrollForm,
    Form,
    IdentifyForm,
    VerifyForm,
    check_fields,
    probes_of,
)
from matchka.errors import (
    InvalidFieldError,
    InvalidSubjectIdError,
    MissingFieldError,
    UnknownFieldError,
)
from matchka.store.subject_id import check_subject_id

EMBED: dict[str, list[str | bytes]] = {"model": ["voice"], "file": [b"a"]}
VERIFY: dict[str, list[str | bytes]] = {**EMBED, "subject_id": ["ada"]}


@pytest.mark.parametrize(
    "text", ["a", "0", "A.b_c:d@e-f", "eva@example.org", "..a", "...", "_", "élan", "中文", "Ωmega", "٣", "x" * 256]
)
def test_check_subject_id_of_an_allowed_id_returns_it(text: str):
    assert check_subject_id(text) == text


def test_check_subject_id_of_decomposed_letters_returns_the_composed():
    assert check_subject_id("e\u0301va") == "\u00e9va"
    assert check_subject_id("e\u0301" * 256) == "\u00e9" * 256
    assert check_subject_id("\u1112\u1161\u11ab") == "\ud55c"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "x" * 257,
        "e\u0301" * 257,
        "x" * 100_000,
        "a b",
        "a/b",
        "a\\b",
        "a\n",
        "\0",
        "a\u200b",
        "a\u202eb",
        "a%20",
        "<b>",
        "a'b",
        "a;b",
        "x\u0301",
        "²",
        "Ⅷ",
        "😀",
        "\ud800",
        "a\ufffd",
    ],
)
def test_check_subject_id_of_anything_else_is_refused(text: str):
    with pytest.raises(InvalidSubjectIdError) as refused:
        check_subject_id(text)
    assert len(refused.value.value or "") < 200


@given(st.text(max_size=300))
def test_check_subject_id_accepts_exactly_nfc_letters_digits_and_punctuation(text: str):
    normal = unicodedata.normalize("NFC", text)
    letters = {"Lu", "Ll", "Lt", "Lm", "Lo", "Nd"}
    allowed = all(unicodedata.category(c) in letters or c in "._:@-" for c in normal)
    if allowed and 1 <= len(normal) <= 256 and normal not in (".", ".."):
        assert check_subject_id(text) == normal
    else:
        with pytest.raises(InvalidSubjectIdError):
            check_subject_id(text)


def test_check_fields_without_optional_fields_gives_the_designs_defaults():
    embed = check_fields(EmbedForm, EMBED)
    assert (embed.model, embed.file, embed.dim, embed.encoding) == ("voice", [b"a"], None, "float")
    verify = check_fields(VerifyForm, VERIFY)
    assert (verify.file, verify.dim, verify.max_fmr) == ([b"a"], None, 1e-3)
    compare = check_fields(CompareForm, {"model": ["voice"], "file_a": [b"a"], "file_b": [b"b"]})
    assert (compare.file_a, compare.file_b, compare.dim, compare.max_fmr) == (b"a", b"b", None, 1e-3)
    identify = check_fields(IdentifyForm, EMBED)
    assert (identify.top_k, identify.dim, identify.max_fpir) == (5, None, 1e-2)


def test_check_fields_with_every_field_takes_them_all():
    form = check_fields(IdentifyForm, {**EMBED, "top_k": ["100"], "dim": [" 64 "], "max_fpir": ["5e-3"]})
    assert (form.top_k, form.dim, form.max_fpir) == (100, 64, 0.005)
    assert check_fields(EmbedForm, {**EMBED, "file": [b"a", b"b"], "encoding": ["base64"]}).file == [b"a", b"b"]
    assert check_fields(EnrollForm, {**VERIFY, "subject_id": ["e\u0301va"]}).subject_id == "éva"


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        (EmbedForm, "subject_id"),
        (EmbedForm, "Dim"),
        (EnrollForm, "dim"),
        (VerifyForm, "max_fpir"),
        (VerifyForm, "file_a"),
    ],
)
def test_check_fields_with_a_field_the_call_does_not_have_is_refused(kind: type[Form], extra: str):
    with pytest.raises(UnknownFieldError) as refused:
        check_fields(kind, {**EMBED, extra: ["1"]})
    assert refused.value.value == extra
    assert "model" in refused.value.remedy


@pytest.mark.parametrize("missing", ["model", "subject_id"])
def test_check_fields_without_a_field_the_call_needs_names_it(missing: str):
    with pytest.raises(MissingFieldError, match=missing):
        check_fields(VerifyForm, {name: value for name, value in VERIFY.items() if name != missing})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *[(EmbedForm, "dim", v) for v in ("", " ", "a", "1.5", "true", "None", "٣", "1e2", "0x10", "nan", "9" * 5000)],
        *[
            (VerifyForm, "max_fmr", v)
            for v in ("0", "1", "-0.1", "1.5", "nan", "inf", "-inf", "1e400", "", "0,1", "\u0660.\u0665")
        ],
        *[(IdentifyForm, "max_fpir", v) for v in ("0", "1", "nan", "x")],
        *[(IdentifyForm, "top_k", v) for v in ("0", "-1", "101", "5.5", "all", "")],
        *[(EmbedForm, "encoding", v) for v in ("", "hex", "FLOAT")],
    ],
)
def test_check_fields_with_a_value_that_cannot_be_read_names_field_and_value(kind: type[Form], name: str, value: str):
    fields = {**(VERIFY if kind is VerifyForm else EMBED), name: [value]}
    with pytest.raises(InvalidFieldError, match=f"field {name}") as refused:
        check_fields(kind, fields)
    assert refused.value.value is not None
    assert refused.value.value[:100] == value[:100]


def test_check_fields_with_a_bad_subject_id_raises_its_own_error():
    with pytest.raises(InvalidSubjectIdError):
        check_fields(VerifyForm, {**VERIFY, "subject_id": ["a b"]})


@pytest.mark.parametrize(
    ("name", "values"),
    [("model", ["voice", "face"]), ("subject_id", ["ada", "ada"]), ("voice_file", [b"a", b"b"]), ("dim", ["2", "4"])],
)
def test_check_fields_with_a_single_field_given_twice_is_refused(name: str, values: list[str | bytes]):
    with pytest.raises(InvalidFieldError, match="2 times"):
        check_fields(VerifyForm, {**VERIFY, name: values})


@pytest.mark.parametrize(
    ("name", "value"), [("file", "text"), ("model", b"voice"), ("subject_id", b"ada"), ("dim", b"2")]
)
def test_check_fields_with_text_for_a_file_or_a_file_for_text_is_refused(name: str, value: str | bytes):
    with pytest.raises(InvalidFieldError, match=f"field {name} must be"):
        check_fields(VerifyForm, {**VERIFY, name: [value]})


def test_probes_of_a_form_for_one_model_needs_its_file_and_no_other():
    assert probes_of(check_fields(VerifyForm, VERIFY)) == {"voice": VERIFY["file"]}
    with pytest.raises(MissingFieldError, match="file"):
        probes_of(check_fields(VerifyForm, {name: value for name, value in VERIFY.items() if name != "file"}))
    with pytest.raises(InvalidFieldError, match="voice_file"):
        probes_of(check_fields(VerifyForm, {**VERIFY, "voice_file": [b"v"]}))
    for name, value in {"require": "both", "max_fmr_each": "0.01"}.items():  # their defaults, but given
        with pytest.raises(InvalidFieldError, match=f"{name} belongs to"):
            probes_of(check_fields(VerifyForm, {**VERIFY, name: [value]}))


def test_probes_of_a_form_with_several_files_need_a_challenge_that_may_ask_for_them():
    several = {**VERIFY, "file": [b"a", b"b", b"c"]}
    with pytest.raises(InvalidFieldError, match="file is given 3 times"):
        probes_of(check_fields(VerifyForm, several))
    asked = check_fields(VerifyForm, {**several, "challenge_id": ["0" * 32]})
    assert probes_of(asked) == {"voice": [b"a", b"b", b"c"]}


def test_probes_of_a_fused_form_needs_one_file_of_each_kind_and_nothing_else():
    fused: dict[str, list[str | bytes]] = {"model": ["voice+face"], "subject_id": ["ada"], "voice_file": [b"v"]}
    with pytest.raises(MissingFieldError, match="face_file"):
        probes_of(check_fields(VerifyForm, fused))
    fused["face_file"] = [b"f"]
    assert probes_of(check_fields(VerifyForm, fused)) == {"voice": [b"v"], "face": [b"f"]}
    for name, value in {"file": b"x", "dim": "64", "face": "only"}.items():
        with pytest.raises(InvalidFieldError, match="neither"):
            probes_of(check_fields(VerifyForm, {**fused, name: [value]}))


@pytest.mark.parametrize(
    ("given", "floor"),
    [
        ({}, 1e-2),
        ({"require": ["both"]}, 1e-2),
        ({"max_fmr_each": ["0.05"]}, 0.05),
        ({"require": ["sum"]}, None),
    ],
)
def test_part_floor_of_a_fused_form_is_there_unless_the_sum_alone_counts(
    given: dict[str, list[str | bytes]], floor: float | None
):
    fused: dict[str, list[str | bytes]] = {"model": ["voice+face"], "subject_id": ["ada"], "voice_file": [b"v"]}
    assert check_fields(VerifyForm, {**fused, **given}).part_floor == floor


def test_probes_of_a_fused_form_with_a_challenge_and_only_the_sum_is_refused():
    fused: dict[str, list[str | bytes]] = {"model": ["voice+face"], "subject_id": ["ada"], "voice_file": [b"v"]}
    asked = {**fused, "face_file": [b"f"], "challenge_id": ["0" * 32]}
    with pytest.raises(InvalidFieldError, match="answers the challenge") as refused:
        probes_of(check_fields(VerifyForm, {**asked, "require": ["sum"]}))
    assert refused.value.value == "sum"
    assert probes_of(check_fields(VerifyForm, {**asked, "require": ["both"]})) == {"voice": [b"v"], "face": [b"f"]}


def test_probes_of_a_fused_form_that_asks_each_part_and_only_their_sum_is_refused():
    fused: dict[str, list[str | bytes]] = {"model": ["voice+face"], "subject_id": ["ada"], "voice_file": [b"v"]}
    with pytest.raises(InvalidFieldError, match="max_fmr_each asks"):
        probes_of(check_fields(VerifyForm, {**fused, "require": ["sum"], "max_fmr_each": ["0.05"]}))
