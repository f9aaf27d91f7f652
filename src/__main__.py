"""`python -m raftline` does what `raftline` does."""

import sys

from raftline.cli import main

if __name__ == "__main__":
    sys.exit(main())
