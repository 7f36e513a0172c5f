"""`python -m jobs` is `convoy`."""

from jobs.cli import main

if __name__ == "__main__":
    main()
