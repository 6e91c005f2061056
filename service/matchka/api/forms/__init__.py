"""Forms: checked field by field, and described for OpenAPI from the same class."""

from matchka.api.forms.decisions import ChallengeForm, ClassifyForm, CompareForm, IdentifyForm, VerifyForm, probes_of
from matchka.api.forms.enrolment import EmbeddingsForm, EmbedForm, EnrollForm, SubjectForm
from matchka.api.forms.form import Form
from matchka.api.forms.keys import KeyForm
from matchka.api.forms.parameters import GenerateForm, MorphForm
from matchka.api.forms.reading import body_schema, check_fields, reads
from matchka.api.forms.speech import PronounceForm, TranscribeForm

__all__ = [
    "ChallengeForm",
    "ClassifyForm",
    "CompareForm",
    "EmbedForm",
    "EmbeddingsForm",
    "EnrollForm",
    "Form",
    "GenerateForm",
    "IdentifyForm",
    "KeyForm",
    "MorphForm",
    "PronounceForm",
    "SubjectForm",
    "TranscribeForm",
    "VerifyForm",
    "body_schema",
    "check_fields",
    "probes_of",
    "reads",
]
