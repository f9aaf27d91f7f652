"""Carry out docs/operate/three-hosts.md, each block on the host that the page names.

The operator is root, and the nodes run as the user of their unit, which exists only in the
namespaces of this process. Exit codes: 0 each block succeeded, 77 this machine can't have such
namespaces. Its process is the first of a PID namespace, so all nodes end with it. It needs root and
an empty folder: `python -m raftline.tools.harness.hosts.run_three_hosts FOLDER`
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from raftline.tools.local_cluster.unit import USER
from raftline_testing.nodes.namespaces import BRIDGE, NoNamespaces, enter, run

from . import stand_ins, three_hosts_page
from .three_hosts_page import ADDRESSES, BLOCK, PATIENCE_S, SHELL

ROOT = Path(__file__).resolve().parents[4]
NO_NAMESPACES = 77
USER_ID = 61_234  # unused outside
HOSTS = Path("/run/hosts")  # a place that every user can reach: a test's folder is private
CANNOT_READ = ("can't be read", "cannot be read", "Permission denied")
PROGRAM = "#!{python}\nimport sys\nfrom raftline.{module} import main\nsys.exit(main())\n"
STAND_IN = '#!/bin/sh\nexec {python} {file} {name} {folder} "$@"\n'


class Host:
    """A network namespace with an address, and a folder for files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.address = name, ADDRESSES[name]
        self.folder = folder / self.address
        self.within = [] if name == "operator" else ["nsenter", f"--net=/run/netns/{name}"]
        for part in ("bin", "root", "etc/systemd/system", "var/lib"):
            (self.folder / part).mkdir(parents=True)
        (self.folder / "shell").write_text("")
        self._install()
        self._connect()

    def _install(self) -> None:
        programs = self.folder / "opt/raftline/bin"
        programs.mkdir(parents=True)
        for name, module in (("raftline", "cli"), ("raftline-server", "server")):
            _write(programs / name, PROGRAM.format(python=sys.executable, module=module))
        _write(programs / "pip", "#!/bin/sh\n")
        for name in stand_ins.PROGRAMS:
            words = {"python": sys.executable, "file": stand_ins.__file__, "name": name}
            _write(self.folder / "bin" / name, STAND_IN.format(**words, folder=self.folder))

    def _connect(self) -> None:
        if self.name == "operator":
            run("ip", "address", "add", f"{self.address}/24", "dev", BRIDGE)
            return
        run("ip", "netns", "add", self.name)
        run(
            "ip",
            "link",
            "add",
            f"v-{self.name}",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.name,
        )
        run("ip", "link", "set", f"v-{self.name}", "master", BRIDGE, "up")
        run(
            "ip",
            "-n",
            self.name,
            "-batch",
            "-",
            given=(f"link set lo up\naddress add {self.address}/24 dev eth0\nlink set eth0 up\n"),
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.folder / "root"), "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def carry_out(self, block: str) -> str:
        """Run a block of the page where this host's last block left its shell."""
        script = SHELL.format(
            file=self.folder / "shell", block=stand_ins.prefixed(block, self.folder)
        )
        return self._run(["bash", "-c", script])

    def carry_out_cron(self) -> None:
        """Run each line of the operator's crontab once."""
        for line in (self.folder / stand_ins.TABLE).read_text().splitlines():
            self._run(["sh", "-c", line.split(None, 5)[5]])

    def _run(self, command: list[str]) -> str:
        process = subprocess.run(
            [*self.within, *command],
            cwd=self.folder / "root",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        print(
            f"{time.monotonic():.1f} --- {self.name}: {process.returncode}\n{process.stdout}",
            end="",
        )
        if process.returncode != 0:
            raise SystemExit(f"on {self.name} this ended with {process.returncode}:\n{command[-1]}")
        return process.stdout

    def die(self) -> None:
        """Disappear, with network and disk."""
        os.kill(stand_ins.service_pid(self.folder), signal.SIGKILL)
        run("ip", "link", "delete", f"v-{self.name}")
        shutil.rmtree(self.folder)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def carry_out_page(folder: Path) -> str:
    """Carry out the steps of the page; return the output of the operator's commands."""
    hosts = {name: Host(folder, name) for name in ADDRESSES}
    printed: list[str] = []

    def run_block(name: str, block: str) -> None:
        output = hosts[name].carry_out(block)
        printed.append(output if name == "operator" else "")

    do = {
        BLOCK: run_block,
        "dies": lambda name, _: hosts[name].die(),
        "cron": lambda name, _: hosts[name].carry_out_cron(),
    }
    three_hosts_page.carry_out(do, hosts["operator"].folder / "root/raftline")
    if shutil.which("nft", path=stand_ins.FIREWALLS):
        hosts["s2"].carry_out(f"! curl -s -m 2 http://{ADDRESSES['s1']}:9100/health")
    return "".join(printed)


def check_users() -> None:
    """Check that the nodes ran as the user of their unit, and could read all their files: a
    complaint in their journals means that a step of the page leaves a file to root."""
    logs = list(HOSTS.glob("*/var/lib/raftline/*.log"))
    owners = {pwd.getpwuid(log.stat().st_uid).pw_name for log in logs}
    if owners != {USER}:
        raise SystemExit(f"the logs {logs} belong to {owners}")
    for journal in HOSTS.glob("*/journal"):
        for line in journal.read_text(errors="replace").splitlines():
            if any(words in line for words in CANNOT_READ):
                raise SystemExit(f"{journal} says: {line}")


def have_user() -> None:
    """Create the user of the unit, only in the namespaces of this process.

    Raises:
        NoNamespaces: it can't be created, or couldn't run this Python.
    """
    for name, line in (
        ("passwd", f"{USER}:x:{USER_ID}:{USER_ID}::/nonexistent:/bin/false"),
        ("group", f"{USER}:x:{USER_ID}:"),
    ):
        lines = Path(f"/etc/{name}").read_text().splitlines()
        rest = [each for each in lines if not each.startswith(f"{USER}:")]
        ours = Path(f"/run/{name}")
        ours.write_text("".join(f"{each}\n" for each in [*rest, line]))
        run("mount", "--bind", str(ours), f"/etc/{name}")
    tried = subprocess.run(
        [sys.executable, "-c", "import raftline.server"],
        user=USER_ID,
        group=USER_ID,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        raise NoNamespaces(f"{USER} can't run this Python: {tried.stderr.strip()[-200:]}")


def open_ways(*places: Path) -> None:
    """Open these folders to every user, only in the namespaces of this process: a closed parent
    folder, such as /root, then holds nothing else."""
    shut: dict[Path, list[Path]] = {}
    for place in sorted(set(places)):
        above = [each for each in reversed(place.parents) if not each.stat().st_mode & 0o001]
        if above:
            shut.setdefault(above[0], []).append(place)
    for folder, inside in shut.items():
        rest = [Path(f"/run/kept-{number}") for number in range(len(inside))]
        for aside, place in zip(rest, inside, strict=True):
            aside.mkdir()
            run("mount", "--bind", str(place), str(aside))
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
        for aside, place in zip(rest, inside, strict=True):
            place.mkdir(parents=True, exist_ok=True)
            run("mount", "--move", str(aside), str(place))


def main(folder: Path) -> int:
    os.umask(0o022)
    try:
        enter()
        HOSTS.mkdir()
        run("mount", "--bind", str(folder), str(HOSTS))
        HOSTS.chmod(0o755)
        open_ways(ROOT, Path(sys.prefix), Path(sys.base_prefix))
        have_user()
    except (NoNamespaces, OSError) as reason:
        print(reason)
        return NO_NAMESPACES
    try:
        print("=== said\n" + carry_out_page(HOSTS))
        check_users()
    except BaseException:
        for journal in sorted(HOSTS.glob("*/journal")):
            print(f"=== {journal}\n{journal.read_text(errors='replace')[-3000:]}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
