"""`python -m guidestore`: the command line."""

from guidestore.flows.cli.process import run

if __name__ == "__main__":
    run()
