"""The demonstration of voice and face together: one or both of them wrong, and why a sum is not enough."""

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from matchka.cli.demo.demo_subjects import DemoSubjects
from matchka.cli.output.scores import shown
from matchka.client import Client
from matchka.client.answers import FusedVerifyAnswer, VerifyAnswer
from matchka.errors import InvalidFieldError, RequestFailedError

PERSON: Final = "voice-and-face"  # put together: no recordings and pictures of one person are at hand
VOICE: Final = ("librivox/0870.wav", "librivox/0880.wav", "librivox/0890.wav")
FACE: Final = ("obama/obama.jpg", "obama/obama2.jpg")
OWN_VOICE, WRONG_VOICE = "librivox/0920.wav", "cards/001.wav"
OWN_FACE, WRONG_FACE = "obama/obama3.jpg", "biden/biden.jpg"
PROBES: Final = {
    "own person": (OWN_VOICE, OWN_FACE),
    "wrong voice": (WRONG_VOICE, OWN_FACE),
    "wrong face": (OWN_VOICE, WRONG_FACE),
    "both wrong": (WRONG_VOICE, WRONG_FACE),
}


def demonstrate_jointly(client: Client, subjects: DemoSubjects, samples: Path, console: Console) -> None:
    """Enrol one person with voice and face, probe with right and wrong ones, and print a table.

    Args:
        client: of a ready service that has both models.
        subjects: enrols the person, and deletes it later.
        samples: folder that `matchka-export samples` wrote.
        console: where the table goes.
    """
    voices, faces = samples / "voice", samples / "face"
    subjects.enroll(PERSON, _present([voices / name for name in VOICE]), "voice")
    subjects.enroll(PERSON, _present([faces / name for name in FACE]), "face")
    person = subjects.subject_of(PERSON)
    table = Table("probe", "voice", "face", "both (default)", "sum alone", title="voice+face: is it the person?")
    for name, (voice, face) in PROBES.items():
        probe = voices / voice, faces / face
        try:
            both = client.verify_jointly(person, *probe)
            summed = client.verify_jointly(person, *probe, require="sum")
        except RequestFailedError as error:
            if error.code not in ("unknown_model", "other_version"):  # of an upgrade that is not finished
                raise
            console.print("voice+face: no fusion of the served versions.\n")
            return
        parts = (_part((both.parts or {}).get(part)) for part in ("voice", "face"))
        table.add_row(name, *parts, _passes(both), _passes(summed))
    console.print(table)
    console.print(
        f"voice+face: each part has to pass on its own (max_fmr_each {both.max_fmr_each:g}) beside their sum (max_fmr "
        f"{both.max_fmr:g}).\nThe sum alone (require=sum) is not two factors: a strong part makes up for a weak one.\n",
        highlight=False,
    )


def _present(files: list[Path]) -> list[Path]:
    missing = next((file for file in files if not file.exists()), None)
    if missing is not None:
        raise InvalidFieldError(
            "The demonstration's samples are not there.",
            value=missing,
            remedy="Fetch them with `matchka-export samples`.",
        )
    return files


def _part(answer: VerifyAnswer | None) -> str:
    return "-" if answer is None else f"{_passes(answer)} {shown(answer.similarity)}"


def _passes(answer: VerifyAnswer | FusedVerifyAnswer) -> str:
    return "[bold]yes[/]" if answer.match else "no"
