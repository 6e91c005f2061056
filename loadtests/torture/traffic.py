"""Clients that enrol, delete, verify and identify at once, and compare every answer with what they know."""

import random
from collections import Counter
from threading import Event, Thread

import numpy as np

from loadtests.client.caller import Answer, Caller, ConnectionLostError
from loadtests.torture.chips import MODEL, ChipPool
from loadtests.torture.journal import Journal, Sight

TOLERANCE = 2e-5  # of a cosine between float32 vectors that were computed in other company
ROUNDING = 1e-9  # of a difference of two numbers between -1 and 1
TOP_K = 100  # as many as may be asked for: journals hold fewer subjects, so every answer shows the whole gallery
MOST_TEMPLATES = 6
FILES = (1, 1, 1, 2, 3)


class Client(Thread):
    """Changes its own subjects and looks at everybody's, until the server goes or it is told to stop.

    Args:
        port: of the server.
        own: ids of the subjects that only this client changes.
        journal: shared with all other clients.
        pool: the chips.
        seed: of its choices.
        ends_with_outage: whether a 503 is taken for a lost connection: what it asked for happened, or did not.
    """

    def __init__(
        self, port: int, own: list[str], journal: Journal, pool: ChipPool, seed: int, ends_with_outage: bool = False
    ) -> None:
        super().__init__(daemon=True)
        self._caller = Caller(port)
        self._own = own
        self._journal = journal
        self._pool = pool
        self._rng = random.Random(seed)
        self._ends_with_outage = ends_with_outage
        self.finish = Event()
        self.lost: ConnectionLostError | None = None
        self.compared: Counter[str] = Counter()

    @property
    def requests(self) -> int:
        """Calls made."""
        return self._caller.requests

    def run(self) -> None:
        """Call without a pause."""
        actions = (self._enroll, self._delete_subject, self._delete_template, self._look_up, self._verify, self._search)
        try:
            while not self.finish.is_set():
                self._rng.choices(actions, (30, 7, 13, 10, 20, 20))[0]()
        except ConnectionLostError as lost:
            self.lost = lost
        except Exception as error:  # a client that ends in silence would look like one that found nothing
            self._journal.note_violation(f"a client failed: {error!r}")
        finally:
            self._caller.close()

    def _enroll(self) -> None:
        subject_id = self._rng.choice(self._own)
        truth = self._journal.subjects[subject_id]
        if truth.unsorted or len(truth.templates) >= MOST_TEMPLATES:
            return
        count = self._rng.choice(FILES)
        before = len(truth.templates)
        chips = self._journal.begin_enroll(subject_id, count, self._rng)
        if not chips:
            return
        files = [self._pool.chips[chip] for chip in chips]
        # chips of anybody: what matters is which are held
        answer = self._caller.post("enroll", files, model=MODEL, subject_id=subject_id, face="aligned", force="true")
        if self._require(answer, 201, f"enroll {subject_id}"):
            if answer.body["template_count"] != before + count or len(answer.body["template_ids"]) != count:
                self._journal.note_violation(
                    f"enroll {subject_id}: {answer.body} after {before} templates and {count} files"
                )
            self._journal.acknowledge(subject_id, answer.body["template_ids"])

    def _delete_subject(self) -> None:
        subject_id = self._held()
        if subject_id:
            self._journal.begin_delete(subject_id)
            if self._require(self._caller.delete(f"subjects/{subject_id}"), 204, f"delete {subject_id}"):
                self._journal.acknowledge(subject_id)

    def _delete_template(self) -> None:
        subject_id = self._held()
        if not subject_id:
            return
        truth = self._journal.subjects[subject_id]
        if truth.unsorted:
            self._delete_subject()
            return
        template_id = self._rng.choice(sorted(truth.templates))
        self._journal.begin_delete(subject_id, template_id)
        if self._require(self._caller.delete(f"templates/{template_id}"), 204, f"delete {template_id}"):
            self._journal.acknowledge(subject_id)

    def _look_up(self) -> None:
        subject_id = self._rng.choice(self._own)
        expected = set(self._journal.subjects[subject_id].templates)
        answer = self._caller.get(f"subjects/{subject_id}")
        if self._require(answer, 200 if expected else 404, f"get {subject_id}") and expected:
            found = {template["template_id"] for template in answer.body["templates"]}
            if found != expected:
                self._journal.note_violation(f"get {subject_id}: {sorted(found ^ expected)} are too many or missing")
        self.compared["look-ups"] += 1

    def _verify(self) -> None:
        subject_id = self._rng.choice(sorted(self._journal.subjects))
        probe = self._rng.randrange(len(self._pool.chips))
        before = self._journal.sights()[subject_id]
        answer = self._caller.post(
            "verify", [self._pool.chips[probe]], model=MODEL, subject_id=subject_id, face="aligned"
        )
        after = self._journal.sights()[subject_id]
        if not before.settled or before.version != after.version:
            return
        self.compared["verifications"] += 1
        if self._require(answer, 200 if before.chips else 404, f"verify {subject_id}") and before.chips:
            expected = self._pool.similarity(before.chips, probe)
            if abs(answer.body["similarity"] - expected) > TOLERANCE:
                self._journal.note_violation(f"verify {subject_id}: {answer.body['similarity']} instead of {expected}")

    def _search(self) -> None:
        probe = self._rng.randrange(len(self._pool.chips))
        before = self._journal.sights()
        answer = self._caller.post("identify", [self._pool.chips[probe]], model=MODEL, top_k=str(TOP_K), face="aligned")
        after = self._journal.sights()
        if not self._require(answer, 200, "identify"):
            return
        settled = {
            name: sight for name, sight in before.items() if sight.settled and sight.version == after[name].version
        }
        for violation in compare_ranking(self._pool, probe, settled, answer):
            self._journal.note_violation(f"identify beside changes: {violation}")
        self.compared["similarities"] += len(settled)

    def _held(self) -> str | None:
        held = [subject_id for subject_id in self._own if self._journal.subjects[subject_id].templates]
        return self._rng.choice(held) if held else None

    def _require(self, answer: Answer, status: int, what: str) -> bool:
        if answer.status == 503 and self._ends_with_outage:
            raise ConnectionLostError(f"{what}: {answer.body}")
        if answer.status != status:
            self._journal.note_violation(f"{what}: {answer.status} instead of {status}: {answer.body}")
        return answer.status == status


def compare_ranking(pool: ChipPool, probe: int, settled: dict[str, Sight], answer: Answer) -> list[str]:
    """What is wrong with an answer of identify that shows the whole gallery, for the subjects whose state is known."""
    candidates = {one["subject_id"]: one["similarity"] for one in answer.body["candidates"]}
    violations = []
    for name, sight in settled.items():
        if not sight.chips:
            if name in candidates:
                violations.append(f"{name} was deleted and is listed")
        elif name not in candidates:
            violations.append(f"{name} is held and is missing")
        elif abs(candidates[name] - pool.similarity(sight.chips, probe)) > TOLERANCE:
            expected = pool.similarity(sight.chips, probe)
            violations.append(f"{name} has similarity {candidates[name]} instead of {expected}")
    margins = [one["similarity"] - one["threshold"] for one in answer.body["candidates"]]
    if np.any(np.diff(margins) > ROUNDING):
        violations.append("candidates are not in the order of how far they lie above their thresholds")
    return violations
