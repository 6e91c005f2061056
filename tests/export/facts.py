"""A small valid set of facts to write bundles from."""

from matchka.bundles.manifest import Calibration, DatasetUse, DimReport, Metrics, OperatingPoint, Source
from matchka_export.bundle import Facts
from tests.export.toy import TOY_DIM, TOY_INPUT


def dim_report() -> DimReport:
    metrics = Metrics(eer=0.1, min_dcf=0.5, tar_at_fmr={"0.01": 0.7}, subjects=4, mated_pairs=10, non_mated_pairs=100)
    return DimReport(
        metrics={"here": metrics},
        backbone_metrics={"here": metrics},
        calibration={"1": Calibration(scale=9.0, offset=-5.0, cllr=0.4, min_cllr=0.3)},
        operating_points={"1": (OperatingPoint(fmr=0.1, threshold=0.6, measured=True),)},
    )


def toy_facts(version: str = "1.0.0+abc") -> Facts:
    source = Source(name="toy", source="made here", version="1", sha256="a" * 64, licence="Apache-2.0")
    return Facts(
        name="toy",
        version=version,
        task="speaker verification",
        input=TOY_INPUT,
        full_dim=TOY_DIM,
        dims=(4, TOY_DIM),
        per_dim={"4": dim_report(), str(TOY_DIM): dim_report()},
        backbone=source,
        projection=source,
        datasets=(DatasetUse(name="toy", source="made here", licence="CC0-1.0", use="tests"),),
    )
