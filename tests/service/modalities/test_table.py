"""The table of modalities: their limits in the settings, their options in a call, what they say that they read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from matchka.api.problems import STATUS_AND_CODE
from matchka.bundles.bundle import read_bundle
from matchka.errors import InvalidFieldError, SettingsError
from matchka.modalities import MODALITIES, options_for, read_limits
from matchka.modalities.audio.containers import is_known_audio
from matchka.modalities.audio.settings import AudioSettings
from matchka.modalities.face.image import READABLE_FORMATS
from matchka.modalities.face.settings import FaceSettings
from matchka.modalities.face.spec import EnhancerSpec, ImageInputSpec
from matchka.settings import read_settings
from tests.factories.samples import encoded

SMALL_FACES = ImageInputSpec(
    chip_px=150, template_points=((0, 0),) * 5, template_weights=(1,) * 5, enhancer=EnhancerSpec()
)
WRITTEN = {"audio/wav": "WAV", "audio/flac": "FLAC", "audio/ogg": "OGG", "audio/mpeg": "MP3"}


def test_read_limits_takes_every_limit_from_its_variable_and_the_rest_by_default():
    given = {
        "MATCHKA_AUDIO__MAX_S": "7.5",
        "MATCHKA_AUDIO__MIN_SPEECH_S": "0.25",
        "MATCHKA_FACE__MAX_MEGAPIXELS": "3.5",
        "MATCHKA_FACE__MAX_FACES": "5",
        "MATCHKA_FACE__MIN_EYE_DISTANCE_PX": "20.5",
        "matchka_face__min_sharpness": "0.1",
        "MATCHKA_FACE__MAX_YAW": "0.7",
        "MATCHKA_FACE__MIN_VISIBLE": "0.9",
    }
    expected = {
        "audio": {"max_s": 7.5, "min_speech_s": 0.25, "formats": ()},
        "image": {
            "max_megapixels": 3.5,
            "max_faces": 5,
            "min_eye_distance_px": 20.5,
            "min_sharpness": 0.1,
            "max_yaw": 0.7,
            "min_visible": 0.9,
            "min_enrolled_px": None,
            "formats": (),
        },
    }
    limits = read_limits(read_settings(given).modalities)
    assert {kind: limits[kind].model_dump() for kind in expected} == expected
    assert read_limits(read_settings({}).modalities) == {kind: known.limits() for kind, known in MODALITIES.items()}
    assert (MODALITIES["audio"].limits, MODALITIES["image"].limits) == (AudioSettings, FaceSettings)


def test_read_limits_reach_the_readers_under_the_names_that_these_use():
    clips = AudioSettings(max_s=7.0, min_speech_s=0.3).clip_limits
    assert (clips.max_duration_s, clips.min_speech_s) == (7.0, 0.3)
    given = FaceSettings(
        max_megapixels=3.0, max_faces=5, min_eye_distance_px=20.0, min_sharpness=0.1, max_yaw=0.7, min_visible=0.9
    )
    faces = given.face_limits(SMALL_FACES)
    assert given.image_limits.max_megapixels == 3.0
    assert (faces.max_faces, faces.min_eye_distance_px, faces.min_sharpness) == (5, 20.0, 0.1)
    assert (faces.max_yaw, faces.min_visible) == (0.7, 0.9)


def test_smallest_face_by_default_is_smaller_where_small_ones_are_read_and_the_operators_own_is_kept():
    plain = SMALL_FACES.model_copy(update={"enhancer": None})
    by_default = FaceSettings()
    assert by_default.face_limits(plain).min_eye_distance_px == 10.0
    assert by_default.face_limits(SMALL_FACES).min_eye_distance_px == 5.5
    for least in (0.0, 7.0, 10.0):
        given = FaceSettings(min_eye_distance_px=least)
        assert {given.face_limits(spec).min_eye_distance_px for spec in (plain, SMALL_FACES)} == {least}


def test_faces_of_any_size_are_enrolled_by_default_where_small_ones_are_not_read():
    plain = SMALL_FACES.model_copy(update={"enhancer": None})
    assert [FaceSettings().face_limits(spec).min_enrolled_px for spec in (plain, SMALL_FACES)] == [0, 40]
    for least in (0.0, 25.0):
        given = FaceSettings(min_enrolled_px=least)
        assert {given.face_limits(spec).min_enrolled_px for spec in (plain, SMALL_FACES)} == {least}


@pytest.mark.parametrize(
    "name", ["MATCHKA_AUDIO__LONGEST_S", "MATCHKA_SMELL__MAX_S", "MATCHKA_AUDIO__", "MATCHKA___MAX_S"]
)
def test_read_limits_of_an_unknown_variable_is_refused(name: str):
    with pytest.raises(SettingsError, match="no such setting") as refused:
        read_limits(read_settings({name: "1"}).modalities)
    assert refused.value.value == name
    assert "MATCHKA_AUDIO__MAX_S" in refused.value.remedy
    assert "MATCHKA_FACE__MAX_YAW" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIO__MAX_S", "0"),
        ("AUDIO__MAX_S", "nan"),
        ("AUDIO__MIN_SPEECH_S", "-0.1"),
        ("AUDIO__MIN_SPEECH_S", "long"),
        ("FACE__MAX_MEGAPIXELS", "inf"),
        ("FACE__MAX_FACES", "0"),
        ("FACE__MIN_VISIBLE", "1.1"),
    ],
)
def test_read_limits_with_a_value_out_of_range_names_the_variable_and_the_value(name: str, value: str):
    with pytest.raises(SettingsError, match=f"MATCHKA_{name}: ") as refused:
        read_limits(read_settings({f"MATCHKA_{name}": value}).modalities)
    assert refused.value.value == value


def test_options_for_a_purpose_are_the_defaults_of_the_modality():
    assert options_for("image", "face", "probe", {}).choice == "dominant"
    assert options_for("image", "face", "enrolment", {}).choice == "only"
    assert options_for("image", "face", "enrolment", {"face": "aligned"}).choice == "aligned"
    assert not options_for("audio", "voice", "probe", {}).must_be_speech
    assert options_for("audio", "voice", "enrolment", {}).must_be_speech


def test_options_for_a_model_of_another_modality_are_refused():
    with pytest.raises(InvalidFieldError, match="The model alto takes audio; face does not apply to it") as refused:
        options_for("audio", "alto", "probe", {"face": "only"})
    assert (refused.value.value, refused.value.remedy) == ("only", "Leave face out, or use a model for faces.")


def test_options_for_an_unknown_choice_are_refused():
    with pytest.raises(InvalidFieldError, match="no such choice") as refused:
        options_for("image", "face", "probe", {"face": "left"})
    assert refused.value.value == "left"
    assert "dominant" in refused.value.remedy


def test_media_types_of_faces_are_those_of_the_formats_that_are_read():
    Image.init()
    assert set(MODALITIES["image"].media_types) == {Image.MIME[name] for name in READABLE_FORMATS}


@pytest.mark.parametrize("media_type", MODALITIES["audio"].media_types)
def test_media_types_of_audio_are_known_by_their_files(media_type: str):
    assert is_known_audio(encoded(np.zeros(16_000), kind=WRITTEN[media_type]))


def test_errors_of_modalities_are_each_of_one_and_have_codes_of_their_own():
    kinds = [kind for known in MODALITIES.values() for kind in known.errors]
    assert len(set(kinds)) == len(kinds)
    for known in MODALITIES.values():
        assert set(known.nothing_found) <= set(known.errors)
        assert {kind: STATUS_AND_CODE[kind] for kind in known.errors} == {
            kind: (422, code) for kind, code in known.errors.items()
        }


@pytest.mark.parametrize("name", ["voice", "face"])
def test_example_of_a_spec_fits_its_graph_and_follows_its_seed(name: str, models_dir: Path):
    spec = read_bundle(models_dir / name).manifest.input
    rows = spec.example(3, seed=7)
    assert (rows.shape, rows.dtype) == ((3, *spec.graph_input().shape), spec.graph_input().dtype)
    assert np.all(rows.std(axis=tuple(range(1, rows.ndim))) > 0)
    assert np.array_equal(rows, spec.example(3, seed=7))
    assert not np.array_equal(rows, spec.example(3, seed=8))
