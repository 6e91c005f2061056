"""A CSV file of people with their clips, and what a service has of them."""

from pathlib import Path

from matchka.client import Client
from tests.factories.samples import sample


def write_people(folder: Path, people: int, takes: int) -> Path:
    """people.csv in a folder, with a row for each take, and the takes of all people mixed."""
    folder.mkdir(exist_ok=True)
    rows = []
    for take in range(takes):
        for person in range(1, people + 1):
            (folder / f"{person}-{take}.wav").write_bytes(sample(person, take))
            rows.append(f"p:{person},{person}-{take}.wav\n")
    (folder / "people.csv").write_text("subject_id,file\n" + "".join(rows))
    return folder / "people.csv"


def stored(client: Client) -> dict[str, int]:
    """How many templates each subject of a service has."""
    with client:
        return {subject.subject_id: subject.template_count for subject in client.subjects(limit=1000).subjects}
