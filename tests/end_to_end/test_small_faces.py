"""Small faces over real HTTP: found, enhanced, judged by thresholds of their size, and not enrolled."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from matchka.bundles.bundle import read_manifest
from matchka.cli.demo.demonstration import run_demonstration
from matchka.cli.main import app
from matchka.errors import RequestFailedError
from tests.factories.doubtful_faces import opened
from tests.factories.face_bundles import write_small_face_bundle
from tests.factories.junk_pictures import junk_pictures
from tests.factories.pictures import encoded
from tests.factories.server_process import RunningServer, start, stop

SIZES = [[14.0, 20.0], [28.0, 40.0]]
EDGES = [20.0, 28.0, 40.0]
THRESHOLDS = [0.985, 0.96, 0.94, 0.93]  # at an FMR of 1e-3, by band
EER = [0.1, 0.03, 0.02, 0.015]


def points(threshold: float) -> dict[str, Any]:
    steps = ((1e-1, threshold - 0.02), (1e-3, threshold))
    return {
        "calibration": {"1": {"scale": 30.0, "offset": -25.0, "cllr": 0.2, "min_cllr": 0.1}},
        "operating_points": {"1": [{"fmr": fmr, "threshold": at, "measured": True} for fmr, at in steps]},
    }


def banded(default: Path) -> dict[str, Any]:
    """The default bundle's report of each dim, with thresholds of each size; the dim's own are those of full size."""
    reports = read_manifest(default).outputs["embeddings"].model_dump(mode="json")["per_dim"]
    (domain, metrics), *_ = reports["128"]["metrics"].items()
    bands = [
        points(at) | {"metrics": {domain: metrics | {"eer": eer}}} for at, eer in zip(THRESHOLDS, EER, strict=True)
    ]
    per_dim = {
        dim: report | points(THRESHOLDS[-1]) | {"identification": {}, "bands": bands} for dim, report in reports.items()
    }
    return {"per_dim": per_dim, "condition": {"value": "native_px", "edges": EDGES, "source": "sample"}}


@pytest.fixture(scope="module")
def bundles(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "models"
    default = models_dir / "face"
    write_small_face_bundle(folder / "face", default, SIZES, **banded(default))
    return folder


@pytest.fixture(scope="module")
def service(bundles: Path, photographs: dict[str, Image.Image]) -> Iterator[RunningServer]:
    running = start(bundles, bundles.parent / "data")
    running.client().enroll("obama", [encoded(photographs["obama"], "PNG")], "face")
    yield running
    stop(running.process)


@pytest.fixture(scope="module")
def photographs(face_samples: Path) -> dict[str, Image.Image]:
    return {path.stem: opened(path) for path in face_samples.glob("*/*.jpg")}


def reduced(service: RunningServer, photograph: Image.Image, side_px: float) -> bytes:
    """The whole photograph as PNG, with a face of this size as the service itself measures it."""
    (face,) = service.client().embed([encoded(photograph, "PNG")], "face").faces or [None]
    assert face is not None
    assert face.native_px is not None
    assert not face.enhanced
    by = side_px / face.native_px
    size = round(photograph.width * by), round(photograph.height * by)
    return encoded(photograph.resize(size, Image.Resampling.BICUBIC), "PNG")


@pytest.mark.parametrize(
    ("side_px", "band", "enhanced"), [(17, 0, True), (24, 1, False), (34, 2, True), (60, 3, False)]
)
def test_verify_tells_the_size_and_decides_by_the_thresholds_of_that_size(
    service: RunningServer, photographs: dict[str, Image.Image], side_px: float, band: int, enhanced: bool
):
    client = service.client()
    probe = reduced(service, photographs["obama2"], side_px)
    answer = client.verify("obama", probe, "face")
    (face,) = answer.faces or [None]
    assert face is not None
    assert face.native_px == pytest.approx(side_px, rel=0.12)
    assert (face.enhanced, answer.threshold) == (enhanced, pytest.approx(THRESHOLDS[band], abs=1e-6))
    assert answer.match == (answer.similarity >= THRESHOLDS[band])
    found = client.identify(probe, "face", max_fpir=1e-3)  # of one subject: the same rate
    assert found.candidates[0].threshold == pytest.approx(THRESHOLDS[band], abs=1e-6)
    assert (found.face and found.face.enhanced) == enhanced
    compared = client.compare(encoded(photographs["obama"], "PNG"), probe, "face")
    assert compared.threshold == pytest.approx(THRESHOLDS[band], abs=1e-6)
    assert [one and one.enhanced for one in compared.faces or []] == [False, enhanced]


def test_command_line_tells_the_size_beside_the_decision(
    service: RunningServer, photographs: dict[str, Image.Image], tmp_path: Path
):
    (tmp_path / "small.png").write_bytes(reduced(service, photographs["obama2"], 17))
    (tmp_path / "full.png").write_bytes(encoded(photographs["obama"], "PNG"))
    told = []
    for arguments in (["verify", "obama"], ["compare", str(tmp_path / "full.png")]):
        shown = CliRunner().invoke(
            app, [*arguments, str(tmp_path / "small.png")], env={"MATCHKA_URL": service.url}, terminal_width=120
        )
        told += [line.split() for line in shown.output.splitlines() if "face: " in line]
    assert [words[-2:] for words in told] == [["px,", "enhanced"]] * 2
    assert [float(words[-3]) for words in told] == pytest.approx([17, 17], rel=0.12)
    assert len(told[1]) == len(told[0]) + 2  # the other face, which is not


def test_aligned_sample_of_unknown_size_is_judged_by_the_strictest_of_all_sizes(
    service: RunningServer, photographs: dict[str, Image.Image]
):
    client = service.client()
    (face,) = client.embed([encoded(photographs["obama2"], "PNG")], "face").faces or [None]
    assert face is not None
    left, top, right, bottom = (round(side) for side in face.box)
    head = encoded(photographs["obama2"].crop((left, top, right, bottom)).resize((150, 150)), "PNG")
    answer = client.verify("obama", head, "face", face="aligned")
    assert answer.faces == [None]
    assert answer.threshold == pytest.approx(max(THRESHOLDS), abs=1e-6)
    assert client.compare(head, head, "face", face="aligned").threshold == pytest.approx(max(THRESHOLDS), abs=1e-6)
    found = client.identify(head, "face", max_fpir=1e-3, face="aligned").candidates
    assert found[0].threshold == pytest.approx(max(THRESHOLDS), abs=1e-6)


@pytest.mark.parametrize(("larger_px", "stated"), [(17, None), (34, None), (60, THRESHOLDS[0])])
def test_compare_of_two_faces_is_refused_where_both_are_small(
    service: RunningServer, photographs: dict[str, Image.Image], larger_px: float, stated: float | None
):
    small, larger = (reduced(service, photographs[name], px) for name, px in (("obama", 17), ("obama2", larger_px)))
    for pair in ((small, larger), (larger, small)):
        if stated is not None:
            answer = service.client().compare(*pair, "face")
            assert (answer.threshold, answer.threshold_measured) == (pytest.approx(stated, abs=1e-6), True)
            continue
        with pytest.raises(RequestFailedError, match="and 40 are needed") as refused:
            service.client().compare(*pair, "face")
        assert (refused.value.status, refused.value.code) == (422, "small_face")
        assert float(str(refused.value.value)) == pytest.approx(larger_px, rel=0.12)
        assert "small faces are compared with those of full size" in str(refused.value.remedy)


def test_enrolment_of_a_small_face_is_refused_with_a_code_of_its_own_and_allowed_by_the_setting(
    service: RunningServer, bundles: Path, photographs: dict[str, Image.Image], tmp_path: Path
):
    small, larger = (reduced(service, photographs["obama2"], side_px) for side_px in (30, 50))
    with pytest.raises(RequestFailedError) as refused:
        service.client().enroll("small", [small], "face")
    assert (refused.value.status, refused.value.code) == (422, "small_face")
    assert service.client().enroll("larger", [larger], "face").template_count == 1
    service.client().delete_subject("larger")
    running = start(bundles, tmp_path / "data", variables={"MATCHKA_FACE__MIN_ENROLLED_PX": "0"})
    try:
        client = running.client()
        (face,) = client.enroll("small", [small], "face").faces or [None]
        assert face is not None
        assert face.enhanced
        full = encoded(photographs["obama3"], "PNG")
        answers = [client.verify("small", probe, "face") for probe in (full, small)]
        assert [one.threshold for one in answers] == pytest.approx([THRESHOLDS[2]] * 2, abs=1e-6)
        assert [one.threshold_measured for one in answers] == [True, False]  # small ones against each other were not
        found = [client.identify(probe, "face", max_fpir=1e-3) for probe in (full, small)]
        assert [one.threshold_measured for one in found] == [True, False]
    finally:
        stop(running.process)


def test_models_tell_the_sizes_their_rates_and_what_is_enhanced(service: RunningServer):
    (model,) = service.client().models().models
    assert model.input["enhancer"] == {"sizes": SIZES}
    assert model.outputs["embeddings"]["condition"] == {"value": "native_px", "edges": EDGES, "source": "sample"}
    shown = CliRunner().invoke(app, ["models"], env={"MATCHKA_URL": service.url}, terminal_width=120)
    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.output.splitlines() if "to 28" in line or "below 20" in line]
    assert [("10.00" in line, "3.00" in line) for line in lines] == [(True, False), (False, True)]
    assert "enhanced: 14 to 20, 28 to 40" in shown.output


def test_stage_of_the_enhancer_is_counted_where_it_was_at_work(
    service: RunningServer, photographs: dict[str, Image.Image]
):
    def runs() -> float:
        lines = requests.get(f"{service.url}/metrics", timeout=30).text.splitlines()
        found = [line for line in lines if line.startswith("matchka_stage_seconds_count") and '"enhance"' in line]
        return sum(float(line.split()[-1]) for line in found)

    small, full = reduced(service, photographs["biden"], 17), encoded(photographs["biden"], "PNG")
    before = runs()
    service.client().embed([full], "face")
    assert runs() == before
    service.client().embed([small], "face")
    assert runs() == before + 1


def test_junk_and_what_is_hardly_a_face_are_refused_or_match_nobody(
    service: RunningServer, photographs: dict[str, Image.Image]
):
    client = service.client()
    tiny = reduced(service, photographs["biden"], 4)
    junk = [encoded(one.picture, "PNG") for side in (24, 90) for one in junk_pictures(18, 1, side)]
    for data in (tiny, *junk):
        with pytest.raises(RequestFailedError) as refused:
            client.identify(data, "face")
        assert (refused.value.status, refused.value.code) == (422, "no_face")
    other = Image.open(io.BytesIO(reduced(service, photographs["biden"], 24)))
    for quality in (5, 20):
        with contextlib.suppress(RequestFailedError):
            assert client.identify(encoded(other.convert("RGB"), "JPEG", quality=quality), "face").match is None


def test_demonstration_shows_small_faces_against_the_thresholds_of_their_sizes(
    service: RunningServer, face_samples: Path
):
    console = Console(record=True, width=200, file=io.StringIO())
    assert run_demonstration(service.client(), face_samples.parent, console)
    (own,) = [line for line in console.export_text().splitlines() if "own person │" in line]
    cells = own.split("│")[2:-1]
    assert [f"of {at:.3f}" in cell for at, cell in zip(reversed(THRESHOLDS), cells, strict=True)] == [True] * 4
    assert ["enhanced" in cell for cell in cells] == [False, True, False, True]
