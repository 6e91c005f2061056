"""The command line in this process, against a real server."""

from click.testing import Result
from typer.testing import CliRunner

from matchka.cli.main import app
from tests.factories.small_server import SmallServer


def run(server: SmallServer, *arguments: object, **variables: str) -> Result:
    """Run `matchka` with some arguments, the server's address and other environment variables."""
    environment = {"MATCHKA_URL": server.url, "COLUMNS": "200", "TERM": "dumb", **variables}
    return CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])
