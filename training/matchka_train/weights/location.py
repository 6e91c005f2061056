"""Where a backbone's weights lie: pulled by name, or a file or folder on this machine."""

from collections.abc import Callable
from pathlib import Path

from pydantic import Field, model_validator

from matchka_train.errors import ChecksumError
from matchka_train.strict_model import StrictModel
from matchka_train.weights.hub import weights_of
from matchka_train.weights.packages import DEFAULT_CACHE_DIR
from matchka_train.weights.source import WeightSource


class WeightsLocation(StrictModel):
    """Where a backbone's weights lie, and what the bundle says of them.

    Attributes:
        weights: a name of `matchka-train backbones list`; licence, source and checksum are then known.
        path: the file or folder; where both are given, this one, so that a recipe's weights can be overridden.
        sha256: of the weights; where given, others are refused.
        source: where those at `path` come from, for the bundle.
        version: of them, for the bundle.
        licence: of them, for the bundle.
        downloads_dir: folder of what was pulled, and of the package files that a detector comes from.
    """

    weights: str | None = None
    path: Path | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    source: str = "not stated"
    version: str = "not stated"
    licence: str = "not stated"
    downloads_dir: Path = DEFAULT_CACHE_DIR

    @model_validator(mode="after")
    def _lies_somewhere(self) -> "WeightsLocation":
        if self.weights is None and self.path is None:
            raise ValueError("give `weights`, a name of `matchka-train backbones list`, or `path`")
        return self

    def place(self, title: str, sha256_of: Callable[[Path], str]) -> tuple[Path, WeightSource]:
        """Where the weights lie, and their source.

        Args:
            title: what weights at `path` are, for people.
            sha256_of: the checksum of what lies at `path`.

        Raises:
            UnknownWeightsError: the catalogue has no such name. WeightsAbsentError: they were not pulled.
            ChecksumError: they are not there, or not the ones that `sha256` names.
        """
        if self.path is not None:
            sha256 = self.sha256 or sha256_of(self.path)
            return self.path, WeightSource(title, self.source, self.version, sha256, self.licence)
        path, source = weights_of(self.weights or "", self.downloads_dir)
        if self.sha256 not in (None, source.sha256):
            raise ChecksumError(f"{path} must have sha256 {self.sha256}.", value=source.sha256, remedy="Pull it again.")
        return path, source
