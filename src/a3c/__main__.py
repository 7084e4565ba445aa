"""`python -m a3c`: the same as the console script."""

from a3c.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
