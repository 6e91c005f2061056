"""The phones that heads tell apart: the 39 of the CMU dictionary, stress left out."""

from typing import Final

from matchka_train.errors import DatasetError

BLANK: Final = "<blank>"  # of connectionist temporal classification: no new phone in this frame
PHONES: Final = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY"),
    *("F", "G", "HH", "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY"),
    *("P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH"),
)
CLASSES: Final = (BLANK, *PHONES)
STRESSES: Final = "012"

_NUMBERS: Final = {phone: number for number, phone in enumerate(CLASSES)}


def phone_numbers(text: str) -> tuple[int, ...]:
    """The classes of phones written one behind the other.

    Args: text: ARPABET, with or without stress, separated by spaces.

    Raises: DatasetError: a phone that is none of the 39, or none at all.

    >>> phone_numbers("IH0 T")
    (17, 31)
    """
    written = [phone.rstrip(STRESSES) for phone in text.split()]
    unknown = sorted({phone for phone in written if phone not in PHONES})
    if unknown or not written:
        raise DatasetError(
            "These are not phones of the CMU dictionary." if unknown else "A clip has no phones.",
            value=unknown or text,
            remedy=f"The 39 are {' '.join(PHONES)}, with or without stress.",
        )
    return tuple(_NUMBERS[phone] for phone in written)
