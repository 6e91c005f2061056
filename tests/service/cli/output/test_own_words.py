"""Remedies of the service in the words of the command line."""

import pytest

from matchka.cli.output.own_words import in_own_words

OPTIONS = {"consent", "purpose", "face", "force", "dim", "max_fmr", "max_fmr_each", "sample_format"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("a key with the scope admin may send force=true.", "a key with the scope admin may send --force."),
        ("Cut it into parts, or ask for face=dominant.", "Cut it into parts, or ask for --face dominant."),
        ("Leave face=aligned out, so that it is found.", "Leave --face aligned out, so that it is found."),
        ("Say which in the field sample_format: cf32.", "Say which in --sample-format: cf32."),
        ("The field face is not valid.", "--face is not valid."),
        ("Correct the value; /docs describes every field.", "Correct the value; --help describes every option."),
        ("Send consent: a reference.", "Send --consent: a reference."),
        ("Send consent and purpose: a reference.", "Send --consent and --purpose: a reference."),
        ("A face and dim light; send dim pictures.", "A face and dim light; send dim pictures."),
        ("Ask for one of 16, or leave dim out.", "Ask for one of 16, or leave --dim out."),
        ("max_fmr_each asks something; max_fmr too.", "--max-fmr-each asks something; --max-fmr too."),
        ("List them with GET /v1/subjects.", "List them with `matchka subjects list`."),
        ("Send a picture of the face, at each dim.", "Send a picture of the face, at each dim."),
        ("With this key max_fpir may be at most 0.1.", "With this key max_fpir may be at most 0.1."),
        ("Send on_duplicate=report.", "Send on_duplicate=report."),
        ("See max_fmr_eachs and --max-fmr.", "See max_fmr_eachs and --max-fmr."),
        ("GET /v1/subjects/ada", "GET /v1/subjects/ada"),
    ],
)
def test_fields_that_are_options_and_calls_that_are_commands_are_named_so(said: str, told: str):
    assert in_own_words(said, OPTIONS) == told


def test_fields_of_a_command_without_options_stay():
    assert in_own_words("Leave dim out, or max_fmr.", ()) == "Leave dim out, or max_fmr."
