"""Vaults for tests: a master key, a key store and a store of templates in one folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from matchka.store.key_store.master_key import MasterKeySource, create_key_file
from matchka.store.store import Store, opened_store
from matchka.store.vault.open_vault import OpenVault, VaultPlan, opened_vault
from tests.factories.databases import FileUnderTest, UnderTest


@dataclass(frozen=True)
class VaultFolder:
    """`data` has the templates, `keys` the key store and `master.key`; or `databases` has the first two."""

    path: Path
    databases: tuple[UnderTest, UnderTest] | None = None

    @property
    def templates(self) -> UnderTest:
        return FileUnderTest(self.database) if self.databases is None else self.databases[0]

    @property
    def keys(self) -> UnderTest:
        return FileUnderTest(self.key_database) if self.databases is None else self.databases[1]

    @property
    def database(self) -> Path:
        return self.path / "data" / "matchka.sqlite"

    @property
    def url(self) -> str:
        return self.templates.url

    @property
    def key_database(self) -> Path:
        return self.path / "keys" / "keys.sqlite"

    @property
    def master(self) -> Path:
        return self.path / "keys" / "master.key"

    @property
    def plan(self) -> VaultPlan:
        return VaultPlan(MasterKeySource(self.master), self.keys.url)

    @property
    def settings(self) -> dict[str, object]:
        return {"master_key_file": self.master, "key_database_url": self.keys.url}

    @contextmanager
    def opened(self) -> Iterator[tuple[Store, OpenVault]]:
        """The store with its vault, as a service has them."""
        with opened_vault(self.plan) as vault, opened_store(self.url, vault) as store:
            store.require_keys()
            assert isinstance(vault, OpenVault)
            yield store, vault


def vault_folder(path: Path, databases: Callable[[str], UnderTest] | None = None) -> VaultFolder:
    """A folder with a new master key and nobody enrolled; in databases beside it where something makes them."""
    folder = VaultFolder(path, None if databases is None else (databases("templates"), databases("keys")))
    for part in (folder.database, folder.master):
        part.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    create_key_file(folder.master)
    return folder
