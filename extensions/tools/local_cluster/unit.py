"""`raftline unit`: a systemd template unit for the nodes of this machine."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

# The folders that ProtectHome=yes and PrivateTmp=yes hide (systemd.exec(5)).
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
USER = "raftline"
FOLDER = "raftline"  # below /var/lib and /etc

UNIT = """\
# One node of raftline: systemctl enable --now raftline@s1
# Its settings are in /etc/{folder}/s1.toml, its files in /var/lib/{folder}.
# Made by `raftline unit`.
[Unit]
Description=raftline node %i
Wants=network-online.target
After=network-online.target
# A node whose disk is full or read-only (4) is started again, five times within two minutes.
StartLimitIntervalSec=120
StartLimitBurst=5

[Service]
Type=notify
User={user}
Group={user}
ExecStart={program} %i --config /etc/{folder}/%i.toml --dir /var/lib/{folder}
ExecReload=/bin/kill -HUP $MAINPID
# Wrong settings (2), files that it must not start from (3), a broken invariant (70): a person
# has to look first.
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=2 3 70
# It reads its whole log before it is ready. To stop it hands over its leadership.
TimeoutStartSec=infinity
TimeoutStopSec=30
WatchdogSec=30
LimitNOFILE=65536
# Its memory is bounded, so that the kernel does not end other programs first.
MemoryMax=75%
OOMScoreAdjust=-500
StateDirectory={folder}
StateDirectoryMode=0700
ConfigurationDirectory={folder}
WorkingDirectory=/var/lib/{folder}
RuntimeDirectory={folder}-%i
UMask=0077

# It needs its folder and the network, and nothing else of this machine.
CapabilityBoundingSet=
DevicePolicy=closed
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged

[Install]
WantedBy=multi-user.target
"""


def text(program: Sequence[str], user: str = USER) -> str:
    """Return the unit for nodes that `program` starts and that run as `user`."""
    return UNIT.format(program=" ".join(map(_quoted, program)), user=user, folder=FOLDER)


def _quoted(word: str) -> str:
    """Return a word of a command as systemd reads it (systemd.service(5), systemd.syntax(7))."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return word if re.fullmatch(r"[\w/.%+,:@-]+", word) else f'"{word}"'


def program() -> list[str]:
    """Return the command that starts a node, with its full path."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "raftline-server")
    path = beside if os.access(beside, os.X_OK) else shutil.which("raftline-server")
    return [path] if path else [sys.executable, "-m", "raftline", "server"]


def hidden(*places: str) -> str:
    """Return the first of these paths that the unit can't see, or ""."""
    for place in places:
        for path in (os.path.abspath(place), os.path.realpath(place)):
            if any(path.startswith(f"{folder}/") for folder in HIDDEN):
                return path
    return ""


def show(user: str) -> int:
    """Print the unit, and a warning if it can't start its program. Return the exit code."""
    command = program()
    print(text(command, user), end="")
    python = (sys.executable, sys.prefix, sys.base_prefix)
    if place := hidden(command[0], *python):
        print(
            f"[!] {place}: the unit hides home folders and /tmp from its node, which would end "
            "with 203/EXEC. Install raftline and its Python elsewhere, for example in /opt",
            file=sys.stderr,
        )
    return 0


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    unit = commands.add_parser(
        "unit",
        help="print a systemd unit for nodes of this machine",
        description="Print a systemd template unit, with one instance for each node: raftline "
        "unit > /etc/systemd/system/raftline@.service, then systemctl enable --now raftline@s1.",
    )
    unit.add_argument(
        "--user", type=_user, default="raftline", metavar="USER", help="their user (raftline)"
    )
    unit.set_defaults(carry_out=_unit)


def _user(text: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a user name")
    return text


def _unit(options: argparse.Namespace) -> int:
    return show(options.user)
