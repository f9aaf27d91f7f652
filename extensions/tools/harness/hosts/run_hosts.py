"""Carry out docs/operate/three-hosts.md on hosts with a systemd each: `make -C testing hosts-test`.

Each host is a Debian in a container of systemd-nspawn, on a bridge that only this process sees.
debootstrap makes the common base once; the changes of a host lie in a layer above it. Its process
is the first of a PID namespace, so all hosts end with it. The blocks come from the page. It also
checks which files another user of a host can read, and how systemd handles a node that hangs or
whose disk is full.

Exit codes: 0 each block succeeded, 1 a block failed, 77 this machine can't have such hosts. `python
-m raftline.tools.harness.hosts.run_hosts BASE FOLDER [OLD]`: OLD is the commit to upgrade from.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from raftline_testing.nodes.namespaces import BRIDGE, NoNamespaces, enter, run
from raftline_testing.nodes.processes import eventually

from . import three_hosts_page
from .three_hosts_page import ADDRESSES, BLOCK, ON_REAL_HOSTS, PATIENCE_S, SHELL

ROOT = Path(__file__).resolve().parents[4]
NO_HOSTS = 77
TOOLS = ("systemd-nspawn", "ssh-keygen", "git", "make", "ip", "nsenter")
OURS = "192.0.2.2"  # the address of the writing program
OPERATOR, VISITOR = "ann", "eve"  # users of the hosts; eve has no rights
CGROUPS = Path("/sys/fs/cgroup")
DISK = "16m"
SECRETS = (
    "/etc/raftline/secret", "/etc/raftline/first-admin", "/etc/raftline/{name}.key",
    "/var/lib/raftline/{name}.log", "/var/lib/raftline/{name}.storage",
)  # fmt: skip
OF_THE_OPERATOR = ("secret", "certs/ca.key", "password-of-ann", "first-admin", "backups")
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")


class Host:
    """A container with an address, and the commands typed there."""

    def __init__(self, name: str, base: Path, folder: Path) -> None:
        self.name, self.address = name, ADDRESSES[name]
        self.root, self.changes = folder / name / "root", folder / name / "changes"
        for each in (self.root, self.changes, folder / name / "work"):
            each.mkdir(parents=True)
        layers = f"lowerdir={base},upperdir={self.changes},workdir={folder / name / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        (self.root / "etc/hostname").write_text(f"{name}\n")
        (self.root / "etc/machine-id").write_text("")
        self.user = OPERATOR if name == "operator" else "root"
        self._chroot("useradd", "--create-home", "--shell", "/bin/bash", VISITOR)
        if name == "operator":
            self._chroot("useradd", "--create-home", "--shell", "/bin/bash", OPERATOR)
        self.start()

    def _chroot(self, *words: str) -> None:
        run("chroot", str(self.root), *words)

    def start(self) -> None:
        """Boot, like a machine that is switched on."""
        own = f"raftline-hosts-{os.getppid()}/{self.name}"
        places = [each / own for each in CGROUPS.iterdir() if (each / "cgroup.procs").exists()]
        places = places or [CGROUPS / own]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        enter_groups = "".join(f"echo $$ > {place}/cgroup.procs 2>/dev/null; " for place in places)
        nspawn = (
            "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe",
            f"--directory={self.root}", f"--machine={self.name}", f"--network-bridge={BRIDGE}",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        )  # fmt: skip
        with (self.root.parent / "console").open("ab") as console:
            self.machine = subprocess.Popen(
                ["sh", "-c", f"{enter_groups} exec {shlex.join(nspawn)}"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        eventually(self._has_booted, f"systemd of {self.name}", PATIENCE_S)

    def _has_booted(self) -> bool:
        """Whether the first process is systemd and answers; by then it has its address."""
        children = Path(f"/proc/{self.machine.pid}/task/{self.machine.pid}/children").read_text()
        first = [pid for pid in children.split() if _program(pid) == "systemd"]
        if not first:
            return False
        self.first = first[0]
        words = f"address replace {self.address}/24 dev host0\nlink set host0 up\n"
        net = ["nsenter", "-t", self.first, "-n", "ip", "-batch", "-"]
        if subprocess.run(net, input=words, text=True, capture_output=True, check=False).returncode:
            return False
        return self.ask("systemctl is-active multi-user.target") == "active"

    def stop(self) -> None:
        """Cut the power at once; the disk stays."""
        os.kill(int(self.first), signal.SIGKILL)
        self.machine.wait(PATIENCE_S)

    def command(self, script: str, user: str = "root") -> list[str]:
        within = ["nsenter", "-t", self.first, "--all", "--root", "--wd=/"]
        return [*within, "runuser", "-l", user, "-s", "/bin/bash", "-c", script]

    def run(self, script: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(script, user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3 * PATIENCE_S,
            check=False,
        )

    def ask(self, script: str, user: str = "root") -> str:
        return self.run(script, user).stdout.strip()

    def carry_out(self, block: str, user: str = "") -> str:
        """Run a block where this user's last block left the shell."""
        user = user or self.user
        home = self.ask("echo $HOME", user)
        file = f"{home}/.shell"
        began_s = time.monotonic()
        process = self.run(f"touch {file}; {SHELL.format(file=file, block=block)}", user)
        took_s = time.monotonic() - began_s
        print(
            f"--- {user}@{self.name}: {process.returncode}, {took_s:.1f} s\n{block}{process.stdout}"
        )
        if process.returncode != 0:
            raise SystemExit(f"on {self.name} this ended with {process.returncode}:\n{block}")
        return process.stdout

    def unit(self, name: str) -> str:
        """Return a property of the node's unit."""
        return self.ask(f"systemctl show -P {name} raftline@{self.name}")

    def journal(self) -> str:
        return self.ask(f"journalctl -o cat -u raftline@{self.name}")


def _program(pid: str) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


class Campaign:
    """The hosts, the machine with the clone, and a function for each kind of step."""

    def __init__(self, base: Path, folder: Path, old: str, outside: dict[str, int]) -> None:
        self.folder, self.old, self.outside = folder, old, outside
        self.clone = folder / "clone"
        self.hosts = {name: Host(name, base, folder) for name in ADDRESSES}
        self.home = self.hosts["operator"].root / "home" / OPERATOR
        self.python = _python_of(base)
        self._open_doors()

    def _open_doors(self) -> None:
        """Allow the operator to log in at the other hosts, as root by ssh."""
        operator = self.hosts["operator"]
        operator.carry_out(
            "mkdir -m 700 -p ~/.ssh\nssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519\n"
            "echo 'StrictHostKeyChecking accept-new' > ~/.ssh/config\n"
            "echo 'LogLevel ERROR' >> ~/.ssh/config\n"
        )
        key = (self.home / ".ssh/id_ed25519.pub").read_text()
        for host in self.hosts.values():
            if host is not operator:
                host.carry_out(f"mkdir -m 700 -p ~/.ssh\necho '{key}' > ~/.ssh/authorized_keys\n")

    def carry_out(self) -> None:
        do: dict[str, Callable[[str, str], None]] = {
            BLOCK: self.on_host,
            ON_REAL_HOSTS: self.on_host,
            "dies": lambda name, _: self.hosts[name].stop(),
            "cron": lambda name, _: self.cron(),
            "starts again": lambda name, _: self.starts_again(self.hosts[name]),
            "stands still": lambda name, _: self.stands_still(self.hosts[name]),
            "full disk": lambda name, _: self.full_disk(self.hosts[name]),
        }
        three_hosts_page.carry_out(do, self.home / "raftline")
        for name in ("s1", "s2", "s4"):
            self.look_at_rights(self.hosts[name])
        self.look_at_the_operator()
        if (
            not self.hosts["s2"]
            .run(f"curl -s -m 2 http://{ADDRESSES['s1']}:9100/health")
            .returncode
        ):
            raise SystemExit("a member may reach port 9100 of another")

    def on_host(self, name: str, block: str) -> None:
        if name == "builder":
            self.build(block)
        elif name == "yours":
            self.hosts["operator"].carry_out(block, "root")
        else:
            self.hosts[name].carry_out(block)

    # --- the machine with the clone ---------------------------------------------------------------

    def build(self, block: str) -> None:
        """Run a block in the clone: at first in an older version than the next time."""
        origin = self.folder / "origin"
        if not origin.exists():
            _git(ROOT, "clone", "-q", "--no-local", str(ROOT), str(origin))
            _git(origin, "checkout", "-q", "-B", "main", self.old or "HEAD")
            _git(self.folder, "clone", "-q", "-b", "main", str(origin), str(self.clone))
        elif self.old:
            _git(origin, "pull", "-q", str(ROOT), "HEAD")
        else:
            _git(origin, "commit", "-q", "--allow-empty", "-m", "One more")
        compiled = os.environ.get("RAFTLINE_COMPILE", "0")
        environment = {**os.environ, "RAFTLINE_COMPILE": compiled, "PYTHON": self.python}
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH", "VIRTUAL_ENV"):
            environment.pop(name, None)
        print(f"--- builder\n{block}", flush=True)
        within = [f"--{name}=/proc/self/fd/{place}" for name, place in self.outside.items()]
        command = ["nsenter", *within, "bash", "-ec", f"cd {self.clone}\n{block}"]
        subprocess.run(command, env=environment, pass_fds=self.outside.values(), check=True)
        there = self.hosts["operator"].root / "opt/wheelhouse"
        shutil.copytree(self.clone / "build/wheelhouse", there, dirs_exist_ok=True)
        print("\n".join(sorted(path.name for path in there.glob("raftline-*"))), flush=True)

    # --- what is done to hosts --------------------------------------------------------------------

    def cron(self) -> None:
        """Run the operator's crontab line each minute, until it has made a backup."""
        operator = self.hosts["operator"]
        each_minute = "crontab -l | sed 's/^[0-9 ]*[*]/* * */' | crontab -; crontab -l"
        print(operator.ask(each_minute, OPERATOR))
        backups = self.home / "raftline/backups"
        eventually(lambda: any(backups.glob("*.txt")), "cron's backup", PATIENCE_S)
        operator.ask("crontab -r", OPERATOR)

    def starts_again(self, host: Host) -> None:
        """Pull the plug of a host while a program writes, and let it boot."""
        with three_hosts_page.a_writing_program(self.home / "raftline"):
            host.stop()
            host.start()
            self.is_ready(host)
        rules = host.ask("nft list ruleset")
        if "tcp dport 10000" not in rules:
            raise SystemExit(f"{host.name} has no firewall after its start: {rules}")

    def stands_still(self, host: Host) -> None:
        """Stop a node by SIGSTOP; the watchdog must end it."""
        with three_hosts_page.a_writing_program(self.home / "raftline"):
            before = host.unit("MainPID")
            host.ask(f"kill -STOP {before}")
            eventually(lambda: host.unit("NRestarts") == "1", "systemd's watchdog", PATIENCE_S)
            self.is_ready(host)
        if "Watchdog timeout" not in host.journal():
            raise SystemExit(f"it was not the watchdog:\n{host.journal()}")

    def full_disk(self, host: Host) -> None:
        """Give a node a disk of its own, fill it, and wait until systemd gives the node up."""
        files = "/var/lib/raftline"
        host.ask(
            f"systemctl stop raftline@{host.name}; mkdir /old; cp -a {files}/. /old; "
            f"mount -t tmpfs -o size={DISK} tmpfs {files}; chown raftline: {files}; "
            f"cp -a /old/. {files}; systemctl start raftline@{host.name}"
        )
        self.is_ready(host)
        host.ask(f"systemctl reset-failed raftline@{host.name}")  # starts by hand count, too
        with three_hosts_page.a_writing_program(self.home / "raftline"):
            host.ask(f"dd if=/dev/zero of={files}/fill bs=4k")
            eventually(lambda: host.unit("ActiveState") == "failed", "a full disk", PATIENCE_S)
        status, starts = host.unit("ExecMainStatus"), host.unit("NRestarts")
        if status != "4" or int(starts) < 5 or "No space left on device" not in host.journal():
            raise SystemExit(f"a full disk ended with {status} after {starts}:\n{host.journal()}")
        host.ask(f"rm {files}/fill")

    def is_ready(self, host: Host) -> None:
        ready = f"curl -sf http://{host.address}:9100/ready"
        eventually(lambda: host.run(ready).returncode == 0, f"{host.name} to serve", PATIENCE_S)

    # --- two users --------------------------------------------------------------------------------

    def look_at_rights(self, host: Host) -> None:
        """Check that the node runs as its user, and that this user can read its files and eve
        can't."""
        owner = host.ask(f"ps -o user= -p {host.unit('MainPID')}")
        if owner != "raftline":
            raise SystemExit(f"the node of {host.name} runs as {owner}")
        files = [each.format(name=host.name) for each in SECRETS]
        readers = {"raftline": True, VISITOR: False}
        for user, may in readers.items():
            for file in files:
                script = f"setpriv --reuid {user} --regid {user} --clear-groups cat {file}"
                if (host.run(f"{script} >/dev/null").returncode == 0) != may:
                    can = "can't" if may else "can"
                    raise SystemExit(f"on {host.name} {user} {can} read {file}")
        process = f"/proc/{host.unit('MainPID')}/environ"
        if host.run(f"cat {process}", VISITOR).returncode == 0:
            raise SystemExit(f"{VISITOR} can read {process} of {host.name}")
        for line in host.journal().splitlines():
            if "can't be read" in line or "Permission denied" in line:
                raise SystemExit(f"{host.name} says: {line}")

    def look_at_the_operator(self) -> None:
        """Check that eve can read nothing while the operator works, and has no rights of her
        own."""
        operator = self.hosts["operator"]
        for each in OF_THE_OPERATOR:
            file = f"/home/{OPERATOR}/raftline/{each}"
            if operator.run(f"test -r {file}", OPERATOR).returncode != 0:
                raise SystemExit(f"{OPERATOR} can't read {file}")
            if operator.run(f"test -r {file}", VISITOR).returncode == 0:
                raise SystemExit(f"{VISITOR} can read {file}")
        at = f"{ADDRESSES['s1']}:10000"
        asked = operator.run(f"/opt/raftline/bin/raftline get app/greeting --at {at}", VISITOR)
        print(f"{VISITOR} asks: {asked.returncode} {asked.stdout.strip()}")
        if asked.returncode == 0:
            raise SystemExit(f"{VISITOR} was let in")


def _git(folder: Path, *words: str) -> None:
    subprocess.run([*GIT, *words], cwd=folder, check=True)


def _python_of(base: Path) -> str:
    """Return a Python of this machine with the version of the hosts' Python, as wheels need."""
    (name,) = (path.name for path in (base / "usr/bin").glob("python3.??"))
    program = shutil.which(name, path="/usr/bin:/usr/local/bin") or shutil.which(name)
    if program is None:
        raise NoNamespaces(f"the hosts have {name}, and this machine has not")
    return program


def main(base: Path, folder: Path, old: str = "") -> int:
    os.umask(0o022)
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    try:
        if missing:
            raise NoNamespaces(f"not installed: {' '.join(missing)}")
        # The machine with the clone has the Internet, and the files of /run that lead there.
        outside = {
            option: os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
            for option, name in (("net", "net"), ("mount", "mnt"))
        }
        enter()
        run("ip", "address", "add", f"{OURS}/24", "dev", BRIDGE)
        began_s = time.monotonic()
        campaign = Campaign(base, folder, old, outside)
    except NoNamespaces as reason:
        print(reason)
        return NO_HOSTS
    try:
        campaign.carry_out()
    except BaseException:
        for name, host in campaign.hosts.items():
            print(f"=== {name}\n{host.journal()[-3000:]}")
        raise
    print(f"all of the page was carried out, in {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), *sys.argv[3:]))
