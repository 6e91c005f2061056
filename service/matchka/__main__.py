"""`python -m matchka`: the command line."""

from matchka.cli.serve import main

if __name__ == "__main__":
    main()
