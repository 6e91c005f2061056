"""Measures an enhancer before a bundle's graph: the file that ships, on people who decided nothing."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Final

import numpy as np
from rich.progress import Progress

from matchka.bundles.outputs.measurements import BandReport, GateComparison, Metrics
from matchka.vectors import FloatArray
from matchka_export.enhancer.evidence import ProbeMeasures, SizeMeasures, SizeVerdict
from matchka_export.gate.dim_report import OwnedPairs, decide_pairs, gallery_points_of
from matchka_export.gate.non_inferiority import Rule
from matchka_train.backbones.face.enhanced import size_range
from matchka_train.backbones.face.enhancer_file import ChipEnhancer
from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.decisions import REFERENCES_PER_SUBJECT, reference_owners
from matchka_train.evaluation.small_probes import full_size_threshold, judge_probes, probe_pairs
from matchka_train.metrics.bootstrap import RESAMPLES, draw_eers
from matchka_train.metrics.identity_bootstrap import LEAST_PEOPLE
from matchka_train.metrics.impostor_tails import RankedImpostors
from matchka_train.metrics.pairs import PairSimilarities
from matchka_train.modalities.small_faces import ALIGNED, FOUND, WHOLE, SmallFaces
from matchka_train.run.enhancer.prepared import NO_ENHANCER, Embedder, Part

REPORTED_WAYS: Final = (ALIGNED, WHOLE, FOUND)
DECIDING_WAYS: Final = (WHOLE, FOUND)  # alignment before the reduction is better than it can be
JUDGED_PX: Final = (16.0, 24.0, 32.0)
RULE: Final = Rule(margin=0.0, relative_margin=0.0)  # an enhancer that may not help is left out
TIMED: Final = 20


@dataclass(frozen=True)
class ProbedSamples:
    """Samples as they are enrolled, at full size, and as they are looked up.

    Attributes:
        references: float32, (n, full_dim).
        probes: float32, (n, full_dim), of the same samples.
        subjects: of each.
    """

    references: FloatArray
    probes: FloatArray
    subjects: list[str]

    def pairs(self, dim: int, templates: int, seed: int) -> PairSimilarities:
        """Every probe against references of other samples; raises NoTrialsError where too few have so many."""
        if templates > 1 and self.owners(templates) < LEAST_PEOPLE:
            raise NoTrialsError("Too few own such a reference.", value=templates, remedy="Give more samples of each.")
        return probe_pairs(self.references, self.probes, self.subjects, dim, templates, seed)

    def owners(self, templates: int) -> int:
        """Who can have a reference of so many."""
        return reference_owners(self.subjects, templates)


@dataclass(frozen=True)
class EnhancerTrials:
    """What an enhancer is measured on.

    Attributes:
        part: people who decided nothing.
        embedder: the bundle's graph.
        enhancer: the bundle's second graph.
        dims: rising; the last is full_dim.
        seed: of all draws.
        domain: of those people.
    """

    part: Part
    embedder: Embedder
    enhancer: ChipEnhancer
    dims: tuple[int, ...]
    seed: int
    domain: str


@dataclass(frozen=True)
class MeasuredSize:
    """One size. Attributes: verdict: of the gate. bands: dim -> its operating points, as it ships."""

    verdict: SizeVerdict
    bands: dict[int, BandReport]


def measure_sizes(trials: EnhancerTrials, progress: Progress) -> list[MeasuredSize]:
    """Judge every size, and find the operating points of each as it ships: enhanced, or as the chip was cut.

    Args:
        trials: what is measured, and on whom.
        progress: shows how far it is.

    Raises: NoTrialsError: too few people or samples.
    """
    full = trials.embedder.embed(trials.part.full)
    task = progress.add_task("sizes", total=len(JUDGED_PX) * (len(REPORTED_WAYS) + len(trials.dims)))
    verdicts, bands = [], []
    with ProcessPoolExecutor(len(JUDGED_PX), get_context("spawn")) as pool:  # thresholds take most of the time
        for size in JUDGED_PX:
            plain, enhanced, ways = {}, {}, {}
            for way in REPORTED_WAYS:
                small = trials.part.small(size, way)
                plain[way], enhanced[way] = (_probed(trials, full, small, by) for by in (NO_ENHANCER, trials.enhancer))
                ways[way] = _measures(trials, plain[way], enhanced[way], len(small.rows) / len(full))
                progress.advance(task)
            verdicts.append(judge_size(size, ways))
            shipped = enhanced if verdicts[-1].verdict == "ships" else plain
            deciding = {way: shipped[way] for way in DECIDING_WAYS}
            bands.append({dim: pool.submit(band_report, deciding, dim, trials.seed) for dim in trials.dims})
        found = []
        for verdict, waiting in zip(verdicts, bands, strict=True):
            reports = {}
            for dim, future in waiting.items():
                reports[dim] = _told(future.result(), verdict, dim, trials)
                progress.advance(task)
            found.append(MeasuredSize(verdict, reports))
    return found


def _told(report: BandReport, verdict: SizeVerdict, dim: int, trials: EnhancerTrials) -> BandReport:
    """A band with its accuracy as it ships, and with what the gate found at full dim."""
    ships, names = verdict.verdict == "ships", {way: f"{trials.domain}, {way}" for way in verdict.decided_by}
    ways = {names[way]: verdict.ways[way] for way in verdict.decided_by}
    metrics = {name: (one.enhanced if ships else one.plain).metrics[str(dim)] for name, one in ways.items()}
    gate = {name: _comparison(one, str(dim)) for name, one in ways.items()} if dim == trials.dims[-1] else {}
    return report.model_copy(update={"metrics": metrics, "gate": gate})


def _comparison(measured: SizeMeasures, dim: str) -> GateComparison:
    judged = measured.subjects >= RULE.least_units and measured.mated_pairs >= RULE.least_trials
    return GateComparison(
        reference="bicubic",
        unit="subject",
        eer=measured.enhanced.metrics[dim].eer,
        reference_eer=measured.plain.metrics[dim].eer,
        upper=measured.upper,
        margin=0.0,
        subjects=measured.subjects,
        mated_pairs=measured.mated_pairs,
        confidence=RULE.confidence,
        resamples=RESAMPLES,
        verdict=("passed" if measured.upper < 0 else "refused") if judged else "undecidable",
    )


def judge_size(size_px: float, ways: Mapping[str, SizeMeasures]) -> SizeVerdict:
    """Whether an enhancer ships at a size: the bound of the difference lies below 0 in every way that decides."""
    deciding = [ways[way] for way in DECIDING_WAYS]
    known = all(one.subjects >= RULE.least_units and one.mated_pairs >= RULE.least_trials for one in deciding)
    helps = all(one.upper < 0 for one in deciding)  # NaN does not
    verdict = "undecidable" if not known else "ships" if helps else "refused"
    return SizeVerdict(size_px=size_px, ways=dict(ways), decided_by=DECIDING_WAYS, verdict=verdict)


def shipped_ranges(verdicts: Sequence[SizeVerdict]) -> tuple[tuple[float, float], ...]:
    """The ranges of native sizes in which the enhancer is applied."""
    return tuple(size_range(verdict.size_px) for verdict in verdicts if verdict.verdict == "ships")


def band_report(probed: Mapping[str, ProbedSamples], dim: int, seed: int) -> BandReport:
    """Calibration and thresholds of one size at one dim: the highest of any way of making samples small."""

    def pairs_of(templates: int) -> OwnedPairs:
        return {
            way: (samples.pairs(dim, templates, seed), samples.owners(templates))
            for way, samples in probed.items()
            if templates == 1 or samples.owners(templates) >= LEAST_PEOPLE
        }

    def impostors_of(way: str, templates: int) -> RankedImpostors:
        samples = probed[way]
        return RankedImpostors(
            samples.references, samples.subjects, dim, templates, REFERENCES_PER_SUBJECT, seed, probes=samples.probes
        )

    calibration, points = decide_pairs(pairs_of, DECIDING_WAYS[-1], seed)
    identification = gallery_points_of(impostors_of, tuple(probed), seed)
    return BandReport(calibration=calibration, operating_points=points, identification=identification)


def milliseconds_of(enhancer: ChipEnhancer, part: Part) -> float:
    """Processor time of one sample, alone: the least of several."""
    chip, size = part.full[:1], np.array([JUDGED_PX[0]], np.float32)
    times = []
    for _ in range(TIMED):
        start = time.process_time()
        enhancer.enhance(chip, size)
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def _probed(trials: EnhancerTrials, full: FloatArray, small: SmallFaces, enhancer: ChipEnhancer) -> ProbedSamples:
    probes = trials.embedder.embed(enhancer.enhance(small.chips, small.native_px))
    return ProbedSamples(full[small.rows], probes, [trials.part.photographs.subjects[row] for row in small.rows])


def _measures(trials: EnhancerTrials, plain: ProbedSamples, enhanced: ProbedSamples, found: float) -> SizeMeasures:
    full_dim = trials.dims[-1]
    pairs = [samples.pairs(full_dim, 1, trials.seed) for samples in (enhanced, plain)]
    helped, beside = draw_eers(pairs, trials.seed)
    upper = max(float(np.quantile(helped.draws - beside.draws, RULE.confidence)), helped.rate - beside.rate)
    return SizeMeasures(
        found=found,
        plain=_probe_measures(plain, trials.dims),
        enhanced=_probe_measures(enhanced, trials.dims),
        upper=upper,
        subjects=pairs[0].subject_count,
        mated_pairs=int(pairs[0].mated.size),
    )


def _probe_measures(samples: ProbedSamples, dims: Sequence[int]) -> ProbeMeasures:
    measured = {}
    for dim in dims:
        threshold = full_size_threshold(samples.references, samples.subjects, dim)
        measured[dim] = judge_probes(samples.references, samples.probes, samples.subjects, dim, threshold)
    last = measured[dims[-1]]
    metrics = {str(dim): Metrics(**asdict(one.accuracy)) for dim, one in measured.items()}
    return ProbeMeasures(metrics=metrics, paired=last.paired, fixed=last.fixed, fmr_at_full=last.fmr_at_full)
