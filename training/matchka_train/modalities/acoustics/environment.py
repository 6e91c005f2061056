"""What surrounds a clip: a room that it passes, and the noise in it, drawn from recordings."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from rich.progress import Progress

from matchka.vectors import FloatArray
from matchka_train.modalities.acoustics.corpora import SoundKind, read_sounds
from matchka_train.modalities.acoustics.mixing import add_at_snr, pass_room, sum_at_one_level
from matchka_train.modalities.acoustics.recipe import NoiseRecipe, RoomsRecipe
from matchka_train.modalities.acoustics.recordings import Recordings, read_recordings

# how many recordings sound at once, fewest and most; babble as in Snyder et al. 2018, X-vectors, section 3.3
AT_ONCE: Final[Mapping[SoundKind, tuple[int, int]]] = MappingProxyType(
    {SoundKind.NOISE: (1, 1), SoundKind.MUSIC: (1, 1), SoundKind.BABBLE: (3, 7)}
)


class Sounds(NamedTuple):
    """One kind of sound of one folder.

    Attributes:
        kind: what it is.
        snr_db: range of the signal-to-noise ratio in dB.
        parts: the recordings.
    """

    kind: SoundKind
    snr_db: tuple[float, float]
    parts: tuple[Recordings, ...]


@dataclass(frozen=True)
class AcousticEnvironment:
    """Noise and rooms to draw from; each process gets a copy, which holds names and no sound.

    Attributes:
        noise: how noise is drawn, or None for none.
        rooms: how rooms are drawn, or None for none.
        sounds: of the folders of `noise`.
        responses: parts of the folders of `rooms`.
    """

    noise: NoiseRecipe | None = None
    rooms: RoomsRecipe | None = None
    sounds: tuple[Sounds, ...] = ()
    responses: tuple[Recordings, ...] = ()

    def is_of(self, noise: NoiseRecipe | None, rooms: RoomsRecipe | None) -> bool:
        """Whether it was opened from these sections of a recipe."""
        return (self.noise, self.rooms) == (noise, rooms)

    def describe(self) -> dict[str, object]:
        """All that the result depends on, for the key of the feature cache: hashes of what the files hold."""
        found: dict[str, object] = {}
        if self.noise is not None:
            sounds = [[kind.value, snr_db, [part.sha256 for part in parts]] for kind, snr_db, parts in self.sounds]
            found["recorded_noise"] = {"share": self.noise.share, "sounds": sounds}
        if self.rooms is not None:
            found["rooms"] = {"share": self.rooms.share, "responses": [part.sha256 for part in self.responses]}
        return found

    def apply(self, samples: FloatArray, sample_rate_hz: int, generator: np.random.Generator) -> FloatArray:
        """Let a clip pass a room and add noise; where there is neither, nothing is drawn.

        Args:
            samples: float32, (samples,).
            sample_rate_hz: their rate.
            generator: draws everything.

        Returns: float32, (samples,).

        Raises: DatasetError: a file is not what it was, or nothing but silence was drawn.
        """
        if self.rooms is not None and generator.random() < self.rooms.share:
            part = self.responses[int(generator.integers(len(self.responses)))]
            samples = pass_room(samples, part.draw_response(sample_rate_hz, generator))
        if self.noise is not None and generator.random() < self.noise.share:
            kind, snr_db, parts = self.sounds[int(generator.integers(len(self.sounds)))]
            part = parts[int(generator.integers(len(parts)))]
            at_once = int(generator.integers(*AT_ONCE[kind], endpoint=True))
            pieces = [part.draw_excerpt(samples.size, sample_rate_hz, generator) for _ in range(at_once)]
            samples = add_at_snr(samples, sum_at_one_level(pieces), float(generator.uniform(*snr_db)))
        return samples


NO_ENVIRONMENT: Final = AcousticEnvironment()


def open_environment(noise: NoiseRecipe | None, rooms: RoomsRecipe | None, progress: Progress) -> AcousticEnvironment:
    """Find, check and hash the recordings that a recipe names.

    Args:
        noise: its section of noise.
        rooms: its section of rooms.
        progress: shows how far it is.

    Raises: DatasetError: a folder is not laid out as the recipe says, or holds files that cannot be used.
    """
    sounds = tuple(
        Sounds(kind, snr_db, read_recordings(folder.path, read_sounds(folder.layout, folder.path, kind), progress))
        for folder in (() if noise is None else noise.folders)
        for kind, snr_db in folder.snr_db.by_kind().items()
    )
    responses = tuple(
        part
        for folder in (() if rooms is None else rooms.folders)
        for part in read_recordings(folder.path, read_sounds(folder.layout, folder.path, SoundKind.ROOM), progress)
    )
    return AcousticEnvironment(noise, rooms, sounds, responses)
