"""`python -m raftline` does what `raftline` does."""

import sys

from raftline.scripts import raftline

if __name__ == "__main__":
    sys.exit(raftline())
