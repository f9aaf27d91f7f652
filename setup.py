"""Where an editable install finds the package; all else is in setup.cfg.

setuptools would have it found by a finder of its own, which Python asks last. A plain folder that
is called `raftline` came before it, such as a clone that one stands above.
"""

import sys

from setuptools import setup

EDITABLE = {"packages": ["raftline"], "package_dir": {"": "deploy/editable"}}

setup(**EDITABLE if "editable_wheel" in sys.argv else {})
