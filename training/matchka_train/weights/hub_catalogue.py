"""What is published where: research weights that the package index does not carry, from their makers' own places.

A checksum stands here where one is published: by the makers, by git as the name of the file, or by several others who
recorded what they had downloaded. Where none is, the first pull records it (matchka_train.weights.lock_file).
"""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True)
class HubFile:
    """One file of published weights.

    Attributes:
        name: in the cache; of weights that are several files, as the loading library expects it.
        url: where its makers publish it, at a fixed revision where they have one; filled in from the repository's.
        sha256: published checksum, or None.
        git_blob: git's name of its bytes at that revision, or None.
        size_bytes: published size, or None.
    """

    name: str
    url: str = ""
    sha256: str | None = None
    git_blob: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class HubWeights:
    """Published weights.

    Attributes:
        name: as a recipe gives it.
        kind: kind of backbone in a recipe that takes them.
        title: what they are, for people.
        files: the one with the parameters first.
        source: where they come from.
        version: revision or release.
        licence: SPDX expression of what holds for the weights.
        terms: what has to be known before they are used, or "".
        parameters: how many numbers, as published, or None.
    """

    name: str
    kind: str
    title: str
    files: tuple[HubFile, ...]
    source: str
    version: str
    licence: str
    terms: str = ""
    parameters: int | None = None

    @property
    def size_bytes(self) -> int | None:
        """Of all files together, where it is published."""
        sizes = [file.size_bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


REDIMNET_RELEASE: Final = "https://github.com/IDRnD/ReDimNet/releases/download/latest"
REDIMNET_PARAMETERS: Final = {
    "b0": 1_000_000,
    "b1": 2_200_000,
    "b2": 4_700_000,
    "b3": 3_000_000,
    "b4": 6_300_000,
    "b5": 9_200_000,
    "b6": 15_000_000,
}  # as the paper rounds them
REDIMNET_KNOWN: Final = {  # release files that others have recorded: sha256 and size
    "b2-vox2-ft_lm": ("c9b6bb2f6747caa28a41eaf2e372d66b0d1563baef186d18f5e99abd5e71e06f", 20_582_650),
    "b2-vox2-ptn": ("c18a42926878bc8ac079623fbf36f0bc8054cda1199e96fbe1a3f8e131796647", 20_581_530),
    "b5-vox2-ft_lm": ("8b0c11bbf5a3a8bb39e5c072c4192d0b694d8c447cf126d4cd3c7346a04b39c8", 31_174_382),
}
VOXBLINK_TERMS: Final = (
    "Published under MIT; trained on VoxBlink2, whose authors put every model trained on it under CC BY-NC-SA 4.0: no "
    "commercial use."
)
WAVLM_TERMS: Final = "The makers' licence is that of UniSpeech, Creative Commons BY-SA 3.0: share alike."
EDGEFACE_TERMS: Final = (
    "No commercial use, by the makers' pages on the hub; their repository, which holds these files, says BSD-3-Clause."
)
EDGEFACE_COMMIT: Final = "cfcae62a98f3643b564bf3281afcb3f1929e65f8"
EDGEFACE_REPOSITORY: Final = f"https://raw.githubusercontent.com/otroshi/edgeface/{EDGEFACE_COMMIT}/checkpoints"
HUGGING_FACE: Final = "https://huggingface.co"


def _redimnet(model: str) -> HubWeights:
    """One of the official list of checkpoints, which is in the makers' EVALUATION.md."""
    size, data, _ = model.split("-")
    sha256, size_bytes = REDIMNET_KNOWN.get(model, (None, None))
    return HubWeights(
        name=f"redimnet-{model}",
        kind="redimnet",
        title=f"ReDimNet {model}",
        files=(HubFile(f"{model}.pt", f"{REDIMNET_RELEASE}/{model}.pt", sha256, None, size_bytes),),
        source="github.com/IDRnD/ReDimNet",
        version="latest",  # the tag's name; it can move, so the checksum is the pin
        licence="MIT AND CC-BY-NC-SA-4.0" if "vb2" in data else "MIT",
        terms=VOXBLINK_TERMS if "vb2" in data else "",
        parameters=REDIMNET_PARAMETERS.get(size),
    )


def _edgeface(model: str, parameters: int, git_blob: str) -> HubWeights:
    return HubWeights(
        name=f"edgeface-{model}",
        kind="edgeface",
        title=f"EdgeFace {model}",
        files=(HubFile(f"edgeface_{model}.pt", f"{EDGEFACE_REPOSITORY}/edgeface_{model}.pt", None, git_blob),),
        source="github.com/otroshi/edgeface",
        version=EDGEFACE_COMMIT,
        licence="CC-BY-NC-SA-4.0",
        terms=EDGEFACE_TERMS,
        parameters=parameters,
    )


def _transformer(
    repository: str, revision: str, parameters: int, licence: str, files: tuple[HubFile, ...]
) -> HubWeights:
    """A folder that the transformers library reads; a file's address follows from its name."""
    name = repository.split("/")[1]
    return HubWeights(
        name=name,
        kind=name.split("-")[0],
        title=name,
        files=tuple(replace(file, url=f"{HUGGING_FACE}/{repository}/resolve/{revision}/{file.name}") for file in files),
        source=f"huggingface.co/{repository}",
        version=revision,
        licence=licence,
        terms=WAVLM_TERMS if name.startswith("wavlm") else "",
        parameters=parameters,
    )


CATALOGUE: Final = (
    *(_redimnet(f"b{size}-vox2-{stage}") for size in range(7) for stage in ("ptn", "ft_lm")),
    *(_redimnet(f"{size}-{stage}") for size in ("S", "M") for stage in ("vb2-ptn", "vb2+vox2+cnc-ft_mix")),
    _edgeface("xs_gamma_06", 1_770_000, "af5f8c5cf75e8b90d82d08f7a07ee10677327bfd"),
    _edgeface("s_gamma_05", 3_650_000, "07346953c3045297a5a9bddfb6a173fd27c4398e"),
    _transformer(
        "microsoft/wavlm-base-plus",
        "4c66d4806a428f2e922ccfa1a962776e232d487b",
        94_700_000,
        "CC-BY-SA-3.0",
        (
            HubFile(
                "pytorch_model.bin",
                sha256="3bb273a6ace99408b50cfc81afdbb7ef2de02da2eab0234e18db608ce692fe51",
                size_bytes=377_617_425,
            ),
            HubFile(
                "config.json",
                sha256="fea6df1c2700a3954fc07e70588aecc9055eeb28db2ff57151a2db0d19180ed4",
                size_bytes=2_232,
            ),
            HubFile("preprocessor_config.json", size_bytes=215),
        ),
    ),
    _transformer(
        "microsoft/wavlm-large",
        "c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",
        316_620_000,
        "CC-BY-SA-3.0",
        (
            HubFile(
                "pytorch_model.bin",
                sha256="fdee460e529396ddb2f8c8e8ce0ad74cfb747b726bc6f612e666c7c1e1963c9d",
                size_bytes=1_261_990_257,
            ),
            HubFile(
                "config.json",
                sha256="a3d8fe831aaf63d725b54a8ac36f3549cd4365c5086774b2c89cabbc6f9e129d",
                size_bytes=2_222,
            ),
            HubFile("preprocessor_config.json"),
        ),
    ),
    _transformer(
        "facebook/hubert-base-ls960",
        "dba3bb02fda4248b6e082697eee756de8fe8aa8a",
        94_371_712,
        "Apache-2.0",
        (
            HubFile(
                "pytorch_model.bin",
                sha256="062249fffb353eab67547a2fbc129f7c31a2f459faf641b19e8fb007cc5c48ad",
                size_bytes=377_569_754,
            ),
            HubFile(
                "config.json",
                sha256="56be398848bbd9cbc720172b0d45b2f01cac7652f2968f0f31f5faf9f2986acc",
                size_bytes=1_385,
            ),
            HubFile(
                "preprocessor_config.json",
                sha256="4a93853b74278b7c769d07f5a861e5d12ceb5db2bced5620d335f87238cb9e86",
                size_bytes=213,
            ),
        ),
    ),
    _transformer(
        "facebook/hubert-large-ls960-ft",
        "ece5fabbf034c1073acae96d5401b25be96709d8",
        316_600_000,
        "Apache-2.0",
        (
            HubFile("pytorch_model.bin", sha256="9cf43abec3f0410ad6854afa4d376c69ccb364b48ddddfd25c4c5aa16398eab0"),
            HubFile("config.json"),
            HubFile("preprocessor_config.json"),
        ),
    ),
    _transformer(
        "facebook/wav2vec2-base-960h",
        "22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
        94_400_000,
        "Apache-2.0",
        (
            HubFile(
                "model.safetensors",
                sha256="8aa76ab2243c81747a1f832954586bc566090c83a0ac167df6f31f0fa917d74a",
                size_bytes=377_607_901,
            ),
            HubFile(
                "config.json",
                sha256="d3ec255c063d9f95057b553b19c20135b259875834a4fe9deb218a6be25b4cf3",
                size_bytes=1_596,
            ),
            HubFile(
                "preprocessor_config.json",
                sha256="b225d617c025463b9e157e06afea8b90dc7078fc70b013c533328423e0486b4a",
                size_bytes=159,
            ),
        ),
    ),
)
