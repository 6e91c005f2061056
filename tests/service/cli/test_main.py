"""`matchka` itself, before any of its commands."""

from importlib.metadata import version

from typer.testing import CliRunner

from matchka.cli.main import app


def test_version_is_that_of_the_installed_package_and_needs_no_command():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"matchka {version('matchka')}\n")


def test_no_command_shows_what_there_is():
    done = CliRunner().invoke(app, [])
    assert "Voice and face verification." in done.output
    assert "--version" in done.output
