"""What the service says of its fields and calls, in the words of the command line."""

import re
from collections.abc import Collection
from typing import Final

COMMANDS: Final = {
    "GET /v1/subjects": "`matchka subjects list`",
    "GET /v1/models": "`matchka models`",
    "GET /v1/keys": "`matchka keys list`",
    "POST /v1/challenges": "`matchka challenge`",
}
OF_FIELDS: Final = ("/docs describes every field", "--help describes every option")
CALL: Final = re.compile(rf"(?:{'|'.join(COMMANDS)})(?![\w/?])")


def in_own_words(text: str, options: Collection[str]) -> str:
    """A detail or remedy of the service with the options of a command in place of fields, and commands of calls.

    Args:
        text: of a problem.
        options: of the command, as fields are called. A field that has none stays as it is.

    >>> in_own_words("Send force=true or on_duplicate=report, or leave dim out.", {"force", "on_duplicate", "dim"})
    'Send --force or --on-duplicate report, or leave --dim out.'
    >>> in_own_words("List them with GET /v1/subjects; max_fmr is usual.", {"dim"})
    'List them with `matchka subjects list`; max_fmr is usual.'
    """
    text = CALL.sub(lambda found: COMMANDS[found[0]], text).replace(*OF_FIELDS)
    every = sorted(options, key=len, reverse=True)
    # a single word is one of English as well, but where something is set to it, or it is to be sent or left out
    one, long = _one_of(every), _one_of([name for name in every if "_" in name])
    asked = (
        rf"(?P<set>{one})=(?P<value>[\w.+]*\w)",
        rf"(?:[Tt]he field )(?P<field>{one})",
        rf"(?<=[Ss]end )(?P<sent>{one})(?=:| and )",
        rf"(?<= and )(?P<and>{one})(?=:)",
        rf"(?P<left>{one})(?= out\b)",
        rf"(?P<bare>{long})",
    )
    return re.sub(rf"(?<![\w-])(?:{'|'.join(asked)})(?!\w)", _option, text)


def _one_of(names: Collection[str]) -> str:
    """A pattern of names; of none one that nothing matches."""
    return "|".join(names) or r"(?!)"


def _option(found: re.Match[str]) -> str:
    names = (found[group] for group in ("set", "field", "sent", "and", "left", "bare"))
    name, value = next(filter(None, names)), found["value"]
    flag = f"--{name.replace('_', '-')}"
    return flag if value is None or value == "true" else f"{flag} {value}"
