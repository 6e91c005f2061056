"""Measurements of a phone head that passed, to be changed by tests."""

from matchka.bundles.outputs.phoneme_posteriors import PhonemeMetrics, PhrasePoint
from matchka_export.phonemes.evidence import HeadComparison, OtherMicrophones, PhonemeEvidence, UnseenRates


def passed_comparison(rate: float, floor_rate: float) -> HeadComparison:
    return HeadComparison(
        rate=rate,
        floor_rate=floor_rate,
        upper=rate - floor_rate + 0.01,
        speakers=60,
        clips=600,
        confidence=0.95,
        resamples=500,
        verdict="passed",
    )


def phoneme_evidence(head_sha256: str = "a" * 64, encoder_sha256: tuple[str, ...] = ("b" * 64,)) -> PhonemeEvidence:
    return PhonemeEvidence(
        head_sha256=head_sha256,
        encoder_sha256=encoder_sha256,
        parity=1e-6,
        blank_share=0.8,
        gate={"per": passed_comparison(0.4, 0.6), "phrase_eer": passed_comparison(0.01, 0.03)},
        metrics={"read-english": PhonemeMetrics(per=0.4, phrase_eer=0.01, speakers=60, clips=1200)},
        baseline_metrics={"read-english": PhonemeMetrics(per=0.6, phrase_eer=0.03, speakers=60, clips=1200)},
        phrase_points={"6": (PhrasePoint(far=0.01, threshold=-2.0, measured=True),)},
        unseen={"all": (UnseenRates(far=0.01, accepted=0.009, rejected=0.02, plainly_rejected=0.01, clips=600),)},
        other_microphones=OtherMicrophones(clips=11, best=11, wrong_texts=40),
        datasets=(),
        commands=("matchka-export measure-head head floor",),
        libraries={},
    )
