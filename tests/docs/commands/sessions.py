"""What the commands of each page take for granted: files, subjects, and what is a reader's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

LIBRIVOX = "build/samples/voice/librivox"
OBAMA = "build/samples/face/obama"
# a service that a page starts: one small model, and no longer than it is asked whether it is ready
SMALL_SERVICE = "export MATCHKA_DATA_DIR=$PWD/own MATCHKA_MODELS=equalizer"


@dataclass(frozen=True)
class Around:
    """What is done around one command or one block of Python, in its language.

    Attributes:
        before: lines before it, each of which has to succeed; of Python, code.
        after: lines behind it, likewise: what it left is looked at.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """How the commands of a page are run, in their order, in one shell.

    Attributes:
        before: lines of the shell before the first of them.
        replaced: what a reader replaces by what is his own, in commands and Python.
        around: by a text that occurs in one command or block of Python alone.
    """

    before: tuple[str, ...] = ()
    replaced: Mapping[str, str] = field(default_factory=dict)
    around: Mapping[str, Around] = field(default_factory=dict)


# a station of FM at 250 kHz, 1.5 kHz off, at some 15 dB, as a receiver writes it
TAKE = """python - <<'EOF'
import numpy
rng = numpy.random.default_rng(1)
audio = numpy.convolve(rng.standard_normal(16384), numpy.hanning(31), "same")
hertz = 1500 + 75e3 * numpy.clip(0.3 * audio / audio.std(), -1, 1)
taken = numpy.exp(2j * numpy.pi * numpy.cumsum(hertz) / 250e3)
taken += 0.12 * (rng.standard_normal(16384) + 1j * rng.standard_normal(16384))
(taken.view(float) / abs(taken).max() * 100 + 127.5).astype(numpy.uint8).tofile("take.cu8")
EOF"""
# QPSK of 10,000 symbols a second, 60.7 kHz off the middle of 1 MHz, at some 15 dB in its own band
NARROW = """rng = np.random.default_rng(1)
symbols = np.zeros(102400, complex)
symbols[::100] = np.exp(1j * np.pi / 4 * rng.choice([1, 3, 5, 7], 1024))
taken = np.convolve(symbols, np.hanning(201), "same") * np.exp(2j * np.pi * 0.0607 * np.arange(102400))
taken += 0.4 * (rng.standard_normal(102400) + 1j * rng.standard_normal(102400))
taken.astype("<c8").tofile("take.cf32")"""
ID_OF_DOOR = """KEY_ID=$(matchka keys list --json | python -c "
import json, sys
print(next(key['key_id'] for key in json.load(sys.stdin) if key['name'] == 'door'))")"""
PUBLIC_KEY = """KEY=$(curl "$MATCHKA_URL/v1/receipt-key" | python -c "
import json, sys
print(json.load(sys.stdin)['public_key'])")"""

SESSIONS: Mapping[str, Session] = {
    "README.md": Session(
        before=("matchka demo",),  # the end of `make run`
        around={
            "AsyncClient": Around(
                before=(
                    "import shutil",
                    f"shutil.copy('{LIBRIVOX}/0870.wav', 'a.wav')",
                    f"shutil.copy('{LIBRIVOX}/0880.wav', 'b.ogg')  # the service looks at the bytes, not at the name",
                    f"shutil.copy('{LIBRIVOX}/0920.wav', 'probe.mp3')",
                ),
                after=(
                    "import asyncio",
                    "assert answer.match == (answer.similarity >= answer.threshold)",
                    "assert 0 < answer.probability < 1",
                    "assert asyncio.run(is_ada(open('probe.mp3', 'rb').read()))",
                ),
            ),
            "gallery backup": Around(after=("ls backups/*.matchka-backup",)),
        },
    ),
    "docs/audit.md": Session(
        before=(f"matchka enroll ada {LIBRIVOX}/0870.wav",),
        around={"audit export": Around(after=("grep -q enroll log.jsonl",))},
    ),
    "docs/backup.md": Session(
        before=(f"matchka enroll ada {LIBRIVOX}/0870.wav",),
        replaced={
            "/backups/matchka-20260102T030405Z.matchka-backup": "backups/*.matchka-backup",
            "/backups ": "backups/ ",
        },
        around={
            "# on a fresh machine": Around(
                before=("old=$MATCHKA_DATA_DIR", "export MATCHKA_DATA_DIR=$PWD/fresh"),
                after=("matchka gallery status | grep voice",),
            ),
            "# on the old machine": Around(before=("export MATCHKA_DATA_DIR=$old",)),
            "--deletions deletions.jsonl": Around(before=("export MATCHKA_DATA_DIR=$PWD/new",)),
        },
    ),
    "docs/bundle.md": Session(
        before=("mkdir own", "cp -r --dereference models/equalizer own"),
        replaced={"models/*": "own/*"},
        around={
            "export keygen": Around(after=("test -s release.key",)),
            "export sign": Around(after=("ls own/*/signature.json",)),
            "matchka serve": Around(before=("export MATCHKA_DATA_DIR=$PWD/data MATCHKA_MODELS_DIR=own",)),
        },
    ),
    "docs/challenge.md": Session(
        before=(
            "cp build/samples/voice/goforward/goforward.wav said.wav",
            f"matchka enroll ada {LIBRIVOX}/0870.wav {LIBRIVOX}/0880.wav",
            f"matchka enroll ada {OBAMA}/obama.jpg",
        ),
        around={
            "client.challenge(": Around(
                before=("import shutil", f"shutil.copy('{LIBRIVOX}/0920.wav', 'said.wav')  # as long as six words"),
                after=("assert len(given.phrase.split()) == 6 and not answer.phrase.match",),
            ),
            "head_turn(": Around(
                before=(
                    "from matchka.client import Client",
                    "client = Client()",
                    f"pictures = [f'{OBAMA}/obama{{n}}.jpg' for n in ('', 2, 3)]",
                ),
                after=("assert len(answer.head_turn.turns) == 3",),
            ),
        },
    ),
    "docs/enrolment.md": Session(before=(f"cp {LIBRIVOX}/0870.wav a.wav", f"cp {LIBRIVOX}/0880.wav b.wav")),
    "docs/equalizer.md": Session(around={"--plot warm.svg": Around(after=("grep -q '<svg' warm.svg",))}),
    "docs/keys.md": Session(
        before=("export MATCHKA_DATA_DIR=$PWD/own",),  # the first key that is made puts keys in force
        replaced={"781e4743c05e": '"$KEY_ID"'},
        around={"keys rotate": Around(before=(ID_OF_DOOR,))},
    ),
    "docs/openai.md": Session(
        before=(f"cp {LIBRIVOX}/0870.wav ada.wav",),
        around={"OpenAI(": Around(after=("assert len(answer.data[0].embedding) == 64",))},
    ),
    "docs/processes.md": Session(before=(SMALL_SERVICE,)),
    "docs/radio.md": Session(
        before=(TAKE,),
        around={
            "print(answer.label": Around(after=("assert answer.label == 'WBFM', answer",)),
            "near.cf32": Around(
                before=("import numpy as np", NARROW),
                after=(
                    "from matchka.client import Client",
                    "answer = Client().classify('near.cf32', sample_format='cf32')",
                    "assert answer.label == 'QPSK', answer",
                ),
            ),
        },
    ),
    "docs/rights.md": Session(
        before=(f"cp {LIBRIVOX}/0870.wav clip.wav",),
        around={
            "# asks the service for its key": Around(before=("matchka subjects delete ada --receipt receipt.json",)),
            "--public-key": Around(before=(PUBLIC_KEY,)),
        },
    ),
    "docs/vault.md": Session(
        before=(SMALL_SERVICE, "mkdir keys"),
        replaced={
            " /keys/master.key": " $PWD/keys/master.key",
            "=/keys/master.key": "=$PWD/keys/master.key",
            "sqlite:////keys/": "sqlite:///$PWD/keys/",
        },
        around={"matchka serve": Around(after=("matchka vault status",))},
    ),
}
