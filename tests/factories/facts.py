"""A small valid set of facts to write bundles from."""

from matchka.bundles.manifest import DatasetUse, Source
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.measurements import DimReport
from matchka_export.bundle import Facts
from tests.factories.bundles import dim_report
from tests.factories.toy_backbone import TOY_DIM, TOY_INPUT


def toy_facts(version: str = "1.0.0+abc") -> Facts:
    report = DimReport.model_validate(dim_report())
    source = Source(name="toy", source="made here", version="1", sha256="a" * 64, licence="Apache-2.0")
    per_dim = {"4": report, str(TOY_DIM): report}
    embeddings = EmbeddingOutput(full_dim=TOY_DIM, dims=(4, TOY_DIM), per_dim=per_dim)
    return Facts(
        name="toy",
        version=version,
        task="speaker verification",
        input=TOY_INPUT,
        outputs={"embeddings": embeddings},
        backbone=source,
        projection=source,
        datasets=(DatasetUse(name="toy", source="made here", licence="CC0-1.0", use="tests"),),
    )
