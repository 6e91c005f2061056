"""Nothing outside a modality's own rooms knows which modalities there are: its words stand only in the files listed."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.factories.checkout import ROOT

WORDS = re.compile(r"(?<![a-z])(faces?|voices?|audio|images?|tabular|iq)(?![a-z])")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
SOURCES = ("service/matchka", "training/matchka_train", "export/matchka_export")
# rooms of single modalities, and what is about the two default bundles; phones are heard and nothing else
ROOMS = (
    "/modalities/",
    "/backbones/",
    "/recipes/",
    "/heads/words/",
    "/defaults/",
    "/fitting/network/",
    "/phonemes/",
    "/enhancer/",
    "/cli/demo/",
)
ALLOWED = {
    # names of HTTP v1: `face`, `faces`, voice_file, face_file, error codes, and texts of its description
    "service/matchka/api/answers/decisions.py",
    "service/matchka/api/answers/embeddings.py",
    "service/matchka/api/answers/enrolment.py",
    "service/matchka/api/answers/samples.py",
    "service/matchka/api/examples.py",
    "service/matchka/api/findings.py",
    "service/matchka/api/forms/decisions.py",
    "service/matchka/api/forms/enrolment.py",
    "service/matchka/api/forms/fields.py",
    "service/matchka/api/openapi.py",
    "service/matchka/api/routes/decisions.py",
    "service/matchka/api/routes/docs.py",  # a policy for images
    "service/matchka/api/routes/embeddings.py",
    "service/matchka/api/routes/subjects.py",
    "service/matchka/app.py",
    "service/matchka/errors.py",
    # what is typed at a command line, sent, and shown of the answer
    "service/matchka/cli/client/client_commands.py",
    "service/matchka/cli/client/options.py",
    "service/matchka/cli/client/sources.py",
    "service/matchka/cli/output/constellation.py",  # what the plot of a radio recording reads and writes
    "service/matchka/cli/output/decision_table.py",
    "service/matchka/client/answers/__init__.py",
    "service/matchka/client/answers/decisions.py",
    "service/matchka/client/answers/enrolment.py",
    "service/matchka/client/calls/decisions.py",
    "service/matchka/client/calls/enrolment.py",
    # names that settings had
    "service/matchka/settings.py",
    # where the published weights and data sets of one modality lie, and how these are laid out
    "training/matchka_train/cli/weights.py",
    "training/matchka_train/datasets/layouts/cnceleb.py",
    "training/matchka_train/datasets/layouts/folder.py",
    "training/matchka_train/weights/package_catalogue.py",
    # one experiment each, on one modality
    "training/matchka_train/experiments/command.py",
    "training/matchka_train/experiments/equalizer.py",
    "training/matchka_train/experiments/face_heads.py",
    "training/matchka_train/experiments/figures.py",
    "training/matchka_train/experiments/spectra.py",
    "training/matchka_train/experiments/tables.py",
    "training/matchka_train/experiments/trunk.py",
    # the fusion of the two default bundles
    "training/matchka_train/evaluation/fusion.py",
    # ArcFace, the loss; an <img> of the report
    "training/matchka_train/fitting/losses.py",
    "training/matchka_train/run/page.py",
    # the default bundles and samples to try them with
    "export/matchka_export/__main__.py",
    "export/matchka_export/samples.py",
}


def words_of(source: str) -> set[str]:
    """The words in names and strings; comments and docstrings may say what they like."""
    tree = ast.parse(source)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (text for node in ast.walk(tree) if id(node) not in said for text in _texts(node))
    return {word for text in texts for word in WORDS.findall(CAMEL.sub("_", text).lower())}


def _texts(node: ast.AST) -> Iterator[str]:
    for _, value in ast.iter_fields(node):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield text


def test_words_of_a_source_are_those_of_names_and_strings_and_not_of_docstrings():
    source = (
        '"""Of a face."""\nimport a.audio.b\nclass OneImage:\n    voice_file = "x"  # face\n    surface = "interface"\n'
    )
    assert words_of(source) == {"audio", "image", "voice"}
    assert words_of('def f(faces): return f"{1} face"') == {"faces", "face"}


@pytest.mark.parametrize("source", SOURCES)
def test_words_of_modalities_stand_only_in_the_files_listed(source: str):
    paths = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / source).rglob("*.py"))]
    found = {path for path in paths if not any(room in path for room in ROOMS) and words_of((ROOT / path).read_text())}
    assert found == {path for path in ALLOWED if path.startswith(source)}
