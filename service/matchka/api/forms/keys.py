"""The form of a new API key."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from matchka.api.forms.fields import Ceiling, Quota, read_number
from matchka.api.forms.form import Form
from matchka.store.keys.records import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR


class KeyForm(Form):
    """POST /v1/keys."""

    name: Annotated[str, Field(description="For people; 1 to 64 letters, digits, blanks and `._:@-`.")]
    scopes: Annotated[str, Field(max_length=256, description="Separated by commas or blanks; or `all`.")] = (
        "enroll verify identify"
    )
    lifetime_s: Annotated[
        float | None,
        BeforeValidator(read_number),
        Field(gt=0, le=3.1536e9, allow_inf_nan=False, description="Seconds until it expires; never by default."),
    ] = None
    max_fmr: Annotated[Ceiling, Field(description="Highest false match rate; 1 bounds nothing.")] = DEFAULT_MAX_FMR
    max_fpir: Annotated[Ceiling, Field(description="Highest FPIR; 1 bounds nothing.")] = DEFAULT_MAX_FPIR
    requests_per_s: Annotated[
        float | None, BeforeValidator(read_number), Field(ge=0.01, le=1e6, description="Requests a second.")
    ] = None
    max_subjects: Annotated[Quota, Field(description="Subjects of the tenant.")] = None
    max_templates: Annotated[Quota, Field(description="Templates of a subject.")] = None
