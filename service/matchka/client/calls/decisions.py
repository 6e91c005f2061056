"""Verification, identification, and the challenges that belong to them."""

from collections.abc import Sequence

from matchka.client.answers import ChallengeAnswer, DirectionsAnswer, FusedVerifyAnswer, IdentifyAnswer, VerifyAnswer
from matchka.client.calls.call import Call, Sample, Value, files_of, form_call


def verify(
    subject_id: str,
    sample: Sample,
    model: str = "voice",
    dim: int | None = None,
    max_fmr: float | None = None,
    face: str | None = None,
    sample_format: str | None = None,
    challenge_id: str | None = None,
    max_far: float | None = None,
) -> Call[VerifyAnswer]:
    """Compare a sample with the reference of a subject.

    Args:
        subject_id: whom the sample claims to be of.
        sample: path, bytes or named numbers.
        model: asked for.
        dim: a trained one; full_dim by default.
        max_fmr: false match rate to keep; 1e-3 by default.
        face: which face of a picture.
        sample_format: what a recording's bytes are.
        challenge_id: of challenge(): the sample has to say its phrase as well; used up by this call.
        max_far: with a challenge, the share of clips saying something else that may pass; 1e-2 by default.
    """
    fields: dict[str, Value] = {
        "model": model,
        "subject_id": subject_id,
        "dim": dim,
        "max_fmr": max_fmr,
        "face": face,
        "sample_format": sample_format,
        "challenge_id": challenge_id,
        "max_far": max_far,
    }
    # a challenge is used up by the first try
    is_safe = challenge_id is None
    return form_call("verify", VerifyAnswer.model_validate_json, fields, files_of("file", [sample]), is_safe)


def verify_jointly(
    subject_id: str,
    voice_sample: Sample,
    face_sample: Sample,
    max_fmr: float | None = None,
    require: str | None = None,
    max_fmr_each: float | None = None,
    challenge_id: str | None = None,
    max_far: float | None = None,
) -> Call[FusedVerifyAnswer]:
    """Compare a voice and a face with the references of a subject; one decision on both.

    Args:
        subject_id: enrolled with both models.
        voice_sample: a clip.
        face_sample: a picture.
        max_fmr: false match rate that both together keep; 1e-3 by default.
        require: `both` (default), each part has to pass on its own as well; `sum`, a strong part makes up for a weak
            one, which no challenge allows.
        max_fmr_each: with `both`, the false match rate that each part keeps on its own; 1e-2 by default.
        challenge_id: of challenge(): the clip has to say its phrase as well; used up by this call.
        max_far: with a challenge, the share of clips saying something else that may pass; 1e-2 by default.
    """
    fields: dict[str, Value] = {
        "model": "voice+face",
        "subject_id": subject_id,
        "max_fmr": max_fmr,
        "require": require,
        "max_fmr_each": max_fmr_each,
        "challenge_id": challenge_id,
        "max_far": max_far,
    }
    files = files_of("voice_file", [voice_sample]) + files_of("face_file", [face_sample])
    return form_call("verify", FusedVerifyAnswer.model_validate_json, fields, files, challenge_id is None)


def challenge(subject_id: str, words: int | None = None) -> Call[ChallengeAnswer]:
    """A phrase for a subject to say, for one verify() within a minute; of 6 words by default, 4 to 10."""
    fields: dict[str, Value] = {"subject_id": subject_id, "words": words}
    return form_call("challenges", ChallengeAnswer.model_validate_json, fields, ())


def head_turn(subject_id: str) -> Call[DirectionsAnswer]:
    """Directions for a subject's head, for one verify_turning() within a minute. Experimental."""
    fields: dict[str, Value] = {"subject_id": subject_id, "kind": "head_turn"}
    return form_call("challenges", DirectionsAnswer.model_validate_json, fields, ())


def verify_turning(
    subject_id: str, pictures: Sequence[Sample], challenge_id: str, model: str = "face", max_fmr: float | None = None
) -> Call[VerifyAnswer]:
    """Compare a subject with pictures of its head, and these with what head_turn() asked for. Experimental.

    Args:
        subject_id: whom the pictures claim to be of.
        pictures: 3 to 8 paths or bytes, in the order in which they were taken, not mirrored.
        challenge_id: of head_turn(); used up by this call.
        model: asked for.
        max_fmr: false match rate to keep; 1e-3 by default.
    """
    fields: dict[str, Value] = {
        "model": model,
        "subject_id": subject_id,
        "max_fmr": max_fmr,
        "challenge_id": challenge_id,
    }
    return form_call("verify", VerifyAnswer.model_validate_json, fields, files_of("file", pictures))


def compare(
    sample_a: Sample,
    sample_b: Sample,
    model: str = "voice",
    dim: int | None = None,
    max_fmr: float | None = None,
    face: str | None = None,
    sample_format: str | None = None,
) -> Call[VerifyAnswer]:
    """Compare two samples; nothing is stored."""
    fields: dict[str, Value] = {"model": model, "dim": dim, "max_fmr": max_fmr}
    fields |= {"face": face, "sample_format": sample_format}
    files = files_of("file_a", [sample_a]) + files_of("file_b", [sample_b])
    return form_call("compare", VerifyAnswer.model_validate_json, fields, files, is_safe=True)


def identify(
    sample: Sample,
    model: str = "voice",
    top_k: int | None = None,
    dim: int | None = None,
    max_fpir: float | None = None,
    face: str | None = None,
    sample_format: str | None = None,
) -> Call[IdentifyAnswer]:
    """Search a sample in the gallery; `match` is None where no candidate reaches the threshold."""
    fields: dict[str, Value] = {"model": model, "top_k": top_k, "dim": dim, "max_fpir": max_fpir}
    fields |= {"face": face, "sample_format": sample_format}
    return form_call("identify", IdentifyAnswer.model_validate_json, fields, files_of("file", [sample]), is_safe=True)
