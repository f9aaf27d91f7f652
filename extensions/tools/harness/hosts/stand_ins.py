"""Stand-ins for the programs of docs/operate/three-hosts.md that a test host lacks.

`stand_ins.py PROGRAM FOLDER WORD…` does what PROGRAM does, on the host whose files are in FOLDER.
The folders of all hosts are siblings, named by their addresses.
"""

from __future__ import annotations

import os
import pwd
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
FIREWALLS = "/usr/sbin:/sbin:/usr/bin"  # where nft may be
TABLE = "crontab"
PREFIXED = ("/etc/", "/var/lib", "/opt/")


def prefixed(text: str, folder: Path) -> str:
    """Return the text with its paths moved into the folder of a host."""
    for path in PREFIXED:
        text = text.replace(path, f"{folder}{path}")
    return text.replace("~", f"{folder}/root")


def service_pid(folder: Path) -> int:
    return int((folder / "pid").read_text())


def systemctl(folder: Path, words: list[str]) -> int:
    """Start or stop a node by its unit, as systemd does."""
    action, instance = words[0], words[-1].partition("@")[2]
    if action == "daemon-reload" or words[-1] == "nftables":
        return 0
    if action == "stop":
        return _stop(service_pid(folder))
    unit = (folder / "etc/systemd/system/raftline@.service").read_text()
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    command = settings["ExecStart"].replace("%i", instance)
    if str(folder) not in command.split()[0]:
        raise SystemExit(f"the unit starts another program: {command}")
    program, *options = shlex.split(command)
    arguments = [program, *[prefixed(option, folder) for option in options]]
    return _start(folder, arguments, pwd.getpwnam(settings["User"]), int(settings["UMask"], 8))


def _start(folder: Path, command: list[str], user: pwd.struct_passwd, umask: int) -> int:
    """Wait until the service reports that it is ready; return 1 if it ends before."""
    door = Path("/run") / f"notify-{folder.name}"
    door.unlink(missing_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
        (folder / "journal").open("ab") as journal,
    ):
        notified.bind(str(door))
        door.chmod(0o666)
        service = subprocess.Popen(
            command,
            cwd=folder / "var/lib/raftline",
            stdin=subprocess.DEVNULL,
            stdout=journal,
            stderr=journal,
            start_new_session=True,
            umask=umask,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(door)},
        )
        (folder / "pid").write_text(str(service.pid))
        ended = os.pidfd_open(service.pid)
        sources: list[Any] = [notified, ended]
        while select.select(sources, [], [], PATIENCE_S)[0] == [notified]:
            if b"READY=1" in notified.recv(1 << 12):
                service.returncode = 0  # it continues without us
                return 0
    print(f"{command} did not become ready", file=sys.stderr)
    return 1


def _stop(pid: int) -> int:
    service = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    return 0 if select.select([service], [], [], PATIENCE_S)[0] else 1


def ssh(folder: Path, words: list[str]) -> int:
    """Run a command with the files of another host."""
    other = folder.parent / words[0].partition("@")[2]
    command = " ".join(words[1:]).replace(str(folder), str(other))
    return subprocess.run(["sh", "-c", command], umask=0o022, check=False).returncode


def scp(folder: Path, words: list[str]) -> int:
    """Copy files to another host. As with scp, an existing file keeps its owner and mode; a new one
    belongs to root and gets the mode of the source."""
    *files, target = words
    address, _, path = target.partition("@")[2].partition(":")
    for file in files:
        there = Path(path.replace(str(folder), str(folder.parent / address)))
        there = there / Path(file).name if there.is_dir() else there
        (shutil.copyfile if there.exists() else shutil.copy)(file, there)
    return 0


def crontab(folder: Path, words: list[str]) -> int:
    """Print the operator's crontab, or read it from standard input."""
    table = folder / TABLE
    if words == ["-l"]:
        print(table.read_text() if table.exists() else "", end="")
        return 0 if table.exists() else 1
    table.write_text(sys.stdin.read())
    return 0


def nft(folder: Path, words: list[str]) -> int:
    """Set up this host's firewall, if the real program exists."""
    program = shutil.which("nft", path=FIREWALLS)
    return subprocess.run([program, *words], check=False).returncode if program else 0


PROGRAMS = {"systemctl": systemctl, "ssh": ssh, "scp": scp, "nft": nft, "crontab": crontab}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3:]))
