"""`python -m a3c`: the same as the console script."""

from a3c.utils.user_modules import leave_working_directory

if __name__ == "__main__":
    leave_working_directory()
    from a3c.cli import main

    raise SystemExit(main())
