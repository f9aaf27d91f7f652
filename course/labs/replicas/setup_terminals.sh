#!/usr/bin/env bash
# Opens six panes: three nodes on the left, `tail -f` of their custom logs on the right.
# With --empty the panes are left to you: type the six commands of the sheet's step 1.
# Ctrl-b and then an arrow key moves between them. stop_terminals.sh takes it all down.
set -euo pipefail
cd "$(dirname "$0")"
socket=${LAB_SOCKET:-raftline-lab} folder=${LAB_DIR:-.} port=${LAB_PORT:-8000} python=${PYTHON:-python3}
terminal() { tmux -L "$socket" "$@"; }

if ! command -v tmux >/dev/null; then
  echo "tmux is missing (apt-get install tmux); or open six terminals by hand, as the sheet says" >&2
  exit 1
fi
if terminal has-session -t lab 2>/dev/null; then
  echo "The six panes are open already: tmux -L $socket attach. ./stop_terminals.sh ends them." >&2
  exit 1
fi

left1=$(terminal new-session -d -s lab -x 200 -y 60 -P -F '#{pane_id}')
right1=$(terminal split-window -h -t "$left1" -P -F '#{pane_id}')
left2=$(terminal split-window -v -l 66% -t "$left1" -P -F '#{pane_id}')
left3=$(terminal split-window -v -l 50% -t "$left2" -P -F '#{pane_id}')
right2=$(terminal split-window -v -l 66% -t "$right1" -P -F '#{pane_id}')
right3=$(terminal split-window -v -l 50% -t "$right2" -P -F '#{pane_id}')

if [ "${1:-}" != --empty ]; then
  number=0
  for pane in "$right1" "$right2" "$right3"; do
    number=$((number + 1))
    touch "$folder/node${number}_CUSTOMLOG.log"
    terminal send-keys -t "$pane" "tail -f '$folder/node${number}_CUSTOMLOG.log'" Enter
  done
  number=0
  for pane in "$left1" "$left2" "$left3"; do
    number=$((number + 1))
    terminal send-keys -t "$pane" \
      "$python node.py --node $number --base-port $port --dir '$folder'" Enter
  done
fi
terminal select-pane -t "$left1"
if [ -t 1 ]; then exec tmux -L "$socket" attach -t lab; fi
echo "Six panes are open. To see them: tmux -L $socket attach"
