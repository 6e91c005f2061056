"""`python -m matchka`: the command line."""

from matchka.cli.main import main

if __name__ == "__main__":
    main()
