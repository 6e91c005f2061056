"""What the interface promises for each attack: the statuses and codes that are allowed, and the bounds.

A code is the problem document's `code`; it is empty where the answer is no problem document, as for a success or for
the parser's own 400, and ANY stands for every code but the empty one.
"""

import os
from typing import Final

Outcome = tuple[int, str]

ANY: Final = "*"
OK: Final[Outcome] = (200, "")
CLOSED: Final[Outcome] = (0, "closed")  # the server ended the connection without an answer
UNANSWERED: Final[Outcome] = (0, "unanswered")  # neither an answer nor an end within the time that is given
FOREIGN_ORIGIN_ALLOWED: Final = "foreign_origin_allowed"  # in place of a code: the answer lets other sites read it

REFUSED_KEY: Final = frozenset({(401, "unauthorized"), (429, ANY)})
BAD_HTTP: Final = frozenset({(400, ""), (400, ANY)})
BAD_FORM: Final = frozenset({(400, "malformed_form"), (415, "unsupported_content_type"), (422, ANY)})
SLOW_UPLOAD: Final = frozenset({(408, ANY), CLOSED})
NO_SPEECH: Final = frozenset({(422, "no_speech"), (422, "silence"), (422, "too_little_speech")})
RECORDING_CODES: Final = (
    "not_recording",
    "bad_recording_header",
    "unsupported_sample_type",
    "bad_sample_length",
    "truncated_file",
    "unsafe_archive",
    "sha512_mismatch",
    "recording_too_short",
    "non_finite_recording",
    "implausible_samples",
    "no_signal",
    "clipped_recording",
)
RECORDINGS: Final = frozenset((422, code) for code in RECORDING_CODES)

DOCUMENTED: Final[dict[str, frozenset[Outcome]]] = {
    # the charset of a form is ignored
    "charset of the form": frozenset({OK}),
    "broken form headers": BAD_FORM | {OK, (400, "")},
    "part headers": BAD_FORM | {OK, (404, "unknown_model")},
    "values in JSON bodies": frozenset({(422, ANY), OK, (404, "unknown_model")}),
    "bodies that are no JSON": frozenset({(400, "malformed_form"), (422, "missing_field")}),
    # checked before they reach a database
    "texts as subject ids": frozenset({(422, ANY), (404, ANY), (400, "malformed_form")}),
    "texts as template ids": frozenset({(422, ANY), (404, ANY)}),
    "texts as cursors and queries": frozenset({(422, ANY), (400, "")}),
    "texts as models and fields": frozenset({(422, ANY), (404, "unknown_model"), (400, "malformed_form")}),
    # large heads, HTTP/1.1 without Host
    "large heads": BAD_HTTP | {(431, ""), (431, ANY), (414, ""), (414, ANY)},
    "no Host, or several": BAD_HTTP,
    "request smuggling": BAD_HTTP | {(501, ""), (501, ANY)},
    "pipelined requests": frozenset({OK}),
    # without a key, loopback Host names and no other site's requests; with one, nothing that lets others read
    "foreign Host, no key in force": frozenset({(403, ANY), (400, ""), (400, ANY), (421, ANY)}),
    "foreign Origin, no key in force": frozenset({(403, ANY)}),
    "own page, no key in force": frozenset({OK}),
    "foreign Origin, with a key": frozenset({OK, (403, ANY), (405, ANY)}),
    # nobody is enrolled from what is no sample of a person, nor twice from one
    "junk as voices": NO_SPEECH,
    "junk as aligned faces": frozenset({(422, ANY)}),
    "exact duplicates": frozenset({(409, "duplicate_sample")}),
    # refused by name, and nothing is allocated for what a header says
    "radio recordings that lie": RECORDINGS,
    # where the extra is installed; without it each is told that it is not enabled
    "clips and pictures of further formats": frozenset({OK, (422, ANY)}),
    # the key comes first, and nothing without one holds anything
    "announced bodies without a key": REFUSED_KEY | {CLOSED},
    "lingering sockets without a key": REFUSED_KEY | {CLOSED},
    "storm of wrong keys": REFUSED_KEY | {CLOSED},
    "slow heads": SLOW_UPLOAD | BAD_HTTP,
    "bodies over the limit": frozenset({(413, "body_too_large")}),
    "bodies that lie about their length": BAD_HTTP | SLOW_UPLOAD,
    "hanging uploads": SLOW_UPLOAD | {(503, "overloaded"), (429, ANY)},
    # refused by shape or size, or looked at: most hold no face, and a tightly cut one may
    "pictures within the limit": frozenset({OK, (422, ANY)}),
    "thin pictures": frozenset({(422, ANY)}),
    "giant thin pictures": frozenset({(422, ANY)}),
}

FLOODS: Final = frozenset({"hanging uploads"})  # with the key of the honest ones, who may then be answered 503
PICTURES: Final = frozenset({"pictures within the limit", "thin pictures", "giant thin pictures"})
PICTURE_GROWTH_MIB: Final = 256.0  # of the process, by one picture
RESIDENT_MIB: Final = 512.0  # of the process with both models, beside the pictures that it decodes at the moment
THIN_TIME_RATIO: Final = 3.0  # the longest thin picture, to the longest that is within the limit and of no odd shape
STORM_SLOWDOWN: Final = 5.0  # a refusal to an address that stormed, to one of an address that was never seen


def memory_bound_mib() -> float:
    """Resident memory that the process keeps below, whatever is sent: as many pictures as cores are decoded at once."""
    return RESIDENT_MIB + PICTURE_GROWTH_MIB * len(os.sched_getaffinity(0))


def is_documented(attack: str, outcome: Outcome) -> bool:
    """Whether an attack may be answered so.

    >>> is_documented("thin pictures", (422, "image_too_large")), is_documented("thin pictures", (422, ""))
    (True, False)
    >>> is_documented("exact duplicates", (409, "other_version"))
    False
    """
    status, code = outcome
    allowed = DOCUMENTED[attack]
    return outcome in allowed or (code not in ("", FOREIGN_ORIGIN_ALLOWED) and (status, ANY) in allowed)
