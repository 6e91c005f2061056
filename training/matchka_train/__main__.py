"""`matchka-train`: the command line of training."""

import sys

from rich.console import Console
from rich.markup import escape

from matchka.errors import MatchkaError, extra_required


def main() -> None:
    """Entry point; an error of ours is one line and exit status 2."""
    try:
        with extra_required("cpu,train"):  # not at the top: without them, nothing could say what to install
            from matchka_train.cli.further_commands import add_commands
            from matchka_train.cli.train import app

            add_commands(app)
        app(standalone_mode=True)
    except MatchkaError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
