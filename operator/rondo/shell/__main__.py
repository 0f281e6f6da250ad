"""`python -m rondo.shell` runs the operator."""

from rondo.shell.operator import main

if __name__ == "__main__":
    main()
