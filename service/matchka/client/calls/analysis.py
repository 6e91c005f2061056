"""What is said, which class it is, which parameters."""

from matchka.client.answers import ClassifyAnswer, ParametersAnswer, PronounceAnswer, TranscribeAnswer
from matchka.client.calls.call import Call, Sample, Value, files_of, form_call


def pronounce(
    sample: Sample, text: str, model: str = "phonemes", max_far: float | None = None
) -> Call[PronounceAnswer]:
    """How well a clip says a text, word by word; nothing is stored."""
    fields: dict[str, Value] = {"model": model, "text": text, "max_far": max_far}
    return form_call("pronounce", PronounceAnswer.model_validate_json, fields, files_of("file", [sample]), is_safe=True)


def transcribe(sample: Sample, model: str = "phonemes") -> Call[TranscribeAnswer]:
    """The phones of a clip; nothing is stored."""
    return form_call(
        "transcribe", TranscribeAnswer.model_validate_json, {"model": model}, files_of("file", [sample]), is_safe=True
    )


def classify(sample: Sample, model: str = "radio", sample_format: str | None = None) -> Call[ClassifyAnswer]:
    """Of which class a sample is; `label` is None where it is of none that the model knows.

    Args:
        sample: a path, bytes or named numbers.
        model: one with a class output.
        sample_format: of a radio recording; cf32, ci16 and cu8 have to be named.
    """
    fields = {"model": model, "sample_format": sample_format}
    return form_call("classify", ClassifyAnswer.model_validate_json, fields, files_of("file", [sample]), is_safe=True)


def generate(descriptor: str, strength: float | None = None, model: str = "equalizer") -> Call[ParametersAnswer]:
    """The setting that a word stands for, at a strength from 0 to 1 (the default)."""
    fields = {"model": model, "descriptor": descriptor, "strength": strength}
    return form_call("generate", ParametersAnswer.model_validate_json, fields, (), is_safe=True)


def morph(a: Sample, b: Sample, t: float | None = None, model: str = "equalizer") -> Call[ParametersAnswer]:
    """A setting on the way from one (t = 0) to another (t = 1); half way by default."""
    files = files_of("a", [a]) + files_of("b", [b])
    return form_call("morph", ParametersAnswer.model_validate_json, {"model": model, "t": t}, files, is_safe=True)
