"""`python -m ursa`: the `ursa` command."""

from .tools.cli import main

if __name__ == "__main__":
    main(prog_name="ursa")
