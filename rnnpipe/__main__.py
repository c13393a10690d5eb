"""`python -m rnnpipe` is the command line, for where the script isn't on the path."""

from rnnpipe.cli import main

if __name__ == "__main__":
    main()
