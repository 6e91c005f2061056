"""The attacks in the order in which they are made; what is documented for each is in documented.py."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators import (
    formats,
    forms,
    heads,
    json_bodies,
    origins,
    people,
    pictures,
    recordings,
    texts,
    uploads,
)
from loadtests.torture.hostile.wire import Material


@dataclass(frozen=True)
class Attack:
    """One row of the table.

    Attributes:
        name: as in documented.DOCUMENTED.
        cases: makes its requests, for ever.
        at_once: requests that are under way together.
        keyed: whether the server has a key.
    """

    name: str
    cases: Callable[[Material, random.Random], Iterator[Case]]
    at_once: int = 4
    keyed: bool = True

    def least(self, few: int) -> int:
        """Requests that are made however short the run: `few`, and so many that all places are taken once."""
        return max(few, self.at_once)


# Pictures come alone, so that the growth is that of one; those that may bring the server down come last.
ATTACKS: Final = (
    Attack("charset of the form", forms.charset_cases),
    Attack("broken form headers", forms.header_cases),
    Attack("part headers", forms.part_cases),
    Attack("values in JSON bodies", json_bodies.value_cases),
    Attack("bodies that are no JSON", json_bodies.body_cases),
    Attack("texts as subject ids", texts.subject_cases),
    Attack("texts as template ids", texts.template_cases),
    Attack("texts as cursors and queries", texts.query_cases),
    Attack("texts as models and fields", texts.field_cases),
    Attack("large heads", heads.large_cases),
    Attack("no Host, or several", heads.host_cases),
    Attack("request smuggling", heads.smuggling_cases),
    Attack("pipelined requests", heads.pipeline_cases),
    Attack("foreign Host, no key in force", origins.host_cases, keyed=False),
    Attack("foreign Origin, no key in force", origins.foreign_cases, keyed=False),
    Attack("own page, no key in force", origins.own_cases, keyed=False),
    Attack("foreign Origin, with a key", origins.keyed_cases),
    Attack("junk as voices", people.sound_cases),
    Attack("junk as aligned faces", people.chip_cases),
    Attack("exact duplicates", people.duplicate_cases),
    Attack("radio recordings that lie", recordings.lying_cases),
    Attack("clips and pictures of further formats", formats.broken_cases),
    Attack("announced bodies without a key", uploads.announced_cases, at_once=16),
    Attack("lingering sockets without a key", uploads.lingering_cases, at_once=150),
    Attack("slow heads", uploads.slow_cases, at_once=32),
    Attack("bodies over the limit", uploads.oversized_cases),
    Attack("bodies that lie about their length", uploads.lying_cases, at_once=16),
    Attack("hanging uploads", uploads.hanging_cases, at_once=130),
    Attack("pictures within the limit", pictures.within_limit_cases, at_once=1),
    Attack("thin pictures", pictures.thin_cases, at_once=1),
    Attack("storm of wrong keys", uploads.storm_cases, at_once=32),
    Attack("giant thin pictures", pictures.giant_cases, at_once=1),
)
