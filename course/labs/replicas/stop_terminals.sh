#!/usr/bin/env bash
# Ends the nodes that run here, however they were started, then closes the six panes.
set -euo pipefail
cd "$(dirname "$0")"
"${PYTHON:-python3}" lab.py --dir "${LAB_DIR:-.}" stop
tmux -L "${LAB_SOCKET:-raftline-lab}" kill-server 2>/dev/null || true
