"""The gate of phone heads: better than no encoder at all, on people who neither trained nor chose anything."""

from typing import Final

import numpy as np

from matchka_export.errors import GateError, UndecidableError
from matchka_export.gate.non_inferiority import Judged, Row, Rule, judge_row
from matchka_export.phonemes.evidence import HeadComparison, PhonemeEvidence
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.bootstrap import DrawnRate, draw_eers, draw_rates
from matchka_train.metrics.error_rates import Rates
from matchka_train.metrics.pairs import PairSimilarities, number_subjects
from matchka_train.metrics.phone_errors import PhoneErrors

# better, not as good as: the bound of the difference lies below 0. Heads that were shown other people's texts decode
# little that is right, and a phone error rate of .8 is near what the blank alone reaches, which is 1
PER_RULE: Final = Rule(margin=0.0, relative_margin=0.0, highest=0.8)
PHRASE_RULE: Final = Rule(margin=0.0, relative_margin=0.0, highest=0.4)
MOST_BLANK: Final = 0.97  # of all frames: read speech, at 30 ms a frame, has a phone in every third or so
PER: Final = "per"
PHRASE_EER: Final = "phrase_eer"


def compare_errors(head: PhoneErrors, floor: PhoneErrors, seed: int) -> HeadComparison:
    """Phone error rates of the same clips, people drawn anew.

    Raises: NoTrialsError: the clips are not the same.
    """
    if head.subjects != floor.subjects or not np.array_equal(head.phones, floor.phones):
        raise NoTrialsError("Head and floor did not read the same clips.", remedy="Give both the same data set.")
    numbers, count = number_subjects(list(head.subjects))
    phones = np.bincount(numbers, head.phones, count).astype(np.float64)

    def rate_of(found: PhoneErrors) -> "_Share":
        return _Share(np.bincount(numbers, found.errors, count).astype(np.float64), phones)

    rate, floor_rate = draw_rates([rate_of(head), rate_of(floor)], count, seed)
    return _judged(rate, floor_rate, PER_RULE, count, len(head.phones))


def compare_phrases(head: PairSimilarities, floor: PairSimilarities, seed: int) -> HeadComparison:
    """Equal error rates of the same phrase trials, people drawn anew.

    Raises: NoTrialsError: the trials are not the same.
    """
    rate, floor_rate = draw_eers([head, floor], seed)
    return _judged(rate, floor_rate, PHRASE_RULE, int(np.unique(head.mated_subjects).size), int(head.mated.size))


def require_head_passed(evidence: PhonemeEvidence) -> None:
    """Refuse a head that was not measured to be of use.

    Raises:
        GateError: it may be no better than the floor, says little but blank, or does not find the right text of some
            clip of another microphone.
        UndecidableError: nothing of this, but too little was measured to know.
    """
    absent = {PER, PHRASE_EER} - evidence.gate.keys()
    if absent:
        raise GateError(
            "The head was not compared with the floor in everything.",
            value=", ".join(sorted(absent)),
            remedy="Measure again with `matchka-export measure-head HEAD FLOOR`.",
        )
    refused = [_shown(name, at) for name, at in evidence.gate.items() if at.verdict == "refused"]
    if evidence.blank_share > MOST_BLANK:
        refused.append(f"{evidence.blank_share:.1%} of all frames are blank: the head says nothing")
    others = evidence.other_microphones
    if others.best < others.clips:
        refused.append(
            f"the right text beats {others.wrong_texts} wrong ones on {others.best} of {others.clips} clips of other "
            "microphones"
        )
    if refused:
        raise GateError(f"The head is of no use. {'; '.join(refused)}.", remedy=f"Nothing was written. {_TRAIN}")
    undecided = [name for name, at in evidence.gate.items() if at.verdict == "undecidable"]
    if undecided:
        raise UndecidableError(
            "Too little was measured to say that the head is better than one on log-mel frames.",
            value=", ".join(undecided),
            remedy=f"Nothing was written. Measure at least {PER_RULE.least_units} people.",
        )


class _Share:
    """A rate of sums, with people weighted."""

    def __init__(self, errors: Rates, phones: Rates) -> None:
        self._errors, self._phones = errors, phones

    def __call__(self, weights: Rates) -> float | None:
        total = float(weights @ self._phones)
        return float(weights @ self._errors) / total if total else None


def _judged(rate: DrawnRate, floor_rate: DrawnRate, rule: Rule, speakers: int, clips: int) -> HeadComparison:
    judged: Judged = judge_row(Row("speaker", speakers, clips, rate, "head on log-mel frames", floor_rate), rule)
    return HeadComparison(
        rate=rate.rate,
        floor_rate=floor_rate.rate,
        upper=judged.upper,
        speakers=speakers,
        clips=clips,
        confidence=rule.confidence,
        resamples=rate.draws.size,
        verdict=judged.verdict,
    )


def _shown(name: str, at: HeadComparison) -> str:
    return (
        f"{name}: {100 * at.rate:.2f} % against {100 * at.floor_rate:.2f} % of a head on log-mel frames; the "
        f"difference may be {100 * at.upper:+.2f} points ({at.confidence:.0%} bound), and must be below 0"
    )


_TRAIN: Final = "Train another head, and look whether texts and clips belong together."
