"""The command line, as `python -m heatgrad` and for `torchrun -m heatgrad train`."""

from heatgrad.cli.main import main

if __name__ == "__main__":
    main()
