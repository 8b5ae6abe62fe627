"""`python -m guidestore`: the command line."""

from guidestore.flows.cli.main import main

if __name__ == "__main__":
    main()
