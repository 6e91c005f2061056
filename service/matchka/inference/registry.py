"""The models that are served, by name and version."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from matchka.errors import UnknownModelError
from matchka.inference.model import Model


class ModelRegistry:
    """Models by name; of each the current version first, then the others in the order given.

    Args: models: exactly one of each name is current.
    """

    def __init__(self, models: Iterable[Model]) -> None:
        by_name: dict[str, list[Model]] = defaultdict(list)
        for model in models:
            by_name[model.manifest.name].append(model)
        self._versions = {
            name: tuple(sorted(by_name[name], key=lambda model: not model.is_current)) for name in sorted(by_name)
        }

    def __iter__(self) -> Iterator[Model]:
        """Every version of every model, by name, current ones first."""
        return (model for versions in self._versions.values() for model in versions)

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return list(self._versions)

    def versions(self, name: str) -> tuple[Model, ...]:
        """The served versions of a model, the current one first; none of a model that is not served."""
        return self._versions.get(name, ())

    def current(self, name: str) -> Model:
        """The current version of a model: what enrolments go to.

        Raises: UnknownModelError: no model has the name.
        """
        versions = self.versions(name)
        if not versions:
            raise UnknownModelError(
                "There is no such model.", value=name, remedy=f"Use one of: {', '.join(self._versions)}."
            )
        return versions[0]
