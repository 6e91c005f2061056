"""The demonstration of what is said: each clip against its own text and against forty others."""

import math
import random
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from matchka.cli.output.scores import required, shown
from matchka.client import Client
from matchka.errors import RequestFailedError

MODEL: Final = "phonemes"
WRONG_TEXTS: Final = 40
# clip -> what is said, from the transcripts of the archive that the clips come from
SAID: Final = {
    "goforward/goforward": "go forward ten meters",
    "cards/005": "eight of spades four of clubs seven of hearts",
    "librivox/0880": "he was not an ill disposed young man",
    "librivox/0930": "he might even have been made amiable himself",
}


def demonstrate_speech(client: Client, samples: Path, console: Console) -> bool:
    """Hold clips against their own texts and as many words of the others, and print a table.

    Args:
        client: of a ready service that serves MODEL.
        samples: folder that `matchka-export samples` wrote.
        console: where the table goes.

    Returns: whether every clip's own text is the likeliest.
    """
    known = {word for text in SAID.values() for word in text.split()}
    drawn = random.Random(0)
    table = Table("clip", "its text", "best of the others", "threshold", title=f"{MODEL}: which text does it say?")
    best = 0
    for name, text in track(SAID.items(), "Listening", console=console, transient=True):
        clip = (samples / "voice" / f"{name}.wav").read_bytes()
        own = client.pronounce(clip, text, MODEL).phrase
        words = text.split()
        rest = sorted(known.difference(words))
        others = [_score(client, clip, " ".join(drawn.choices(rest, k=len(words)))) for _ in range(WRONG_TEXTS)]
        nearest = max((score for score in others if score is not None), default=-math.inf)
        best += required(own.llr) > nearest
        table.add_row(name, shown(own.llr, 2), f"{nearest:.2f}", shown(own.threshold, 2))
    console.print(table)
    console.print(
        f"{MODEL}: {best} of {len(SAID)} clips say their own text rather than any of {WRONG_TEXTS} others.\n",
        highlight=False,
    )
    return best == len(SAID)


def _score(client: Client, clip: bytes, text: str) -> float | None:
    """None for a text that the clip cannot last for."""
    try:
        return required(client.pronounce(clip, text, MODEL).phrase.llr)
    except RequestFailedError as error:
        if error.code != "duration_mismatch":
            raise
        return None
