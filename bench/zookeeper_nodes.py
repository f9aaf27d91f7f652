"""The servers of ZooKeeper that the bench measures, with their defaults. kazoo is the client."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import subprocess
from pathlib import Path

from clusters import Cluster

JAR = Path("/usr/share/java/zookeeper.jar")  # of Debian's package
INSTALL = "ZooKeeper or kazoo is not installed: `apt-get install zookeeper` and `pip install kazoo`"
PEERS, ELECTIONS = 10, 20  # from a server's client port
SETTINGS = """tickTime=2000
initLimit=10
syncLimit=5
admin.enableServer=false
4lw.commands.whitelist=srvr
clientPortAddress=127.0.0.1
"""


class ZooKeeper(Cluster):
    """Servers 1, 2, … on 127.0.0.1; each syncs its log before it acknowledges a write."""

    name = "ZooKeeper"

    def command(self, number: int) -> list[str]:
        folder = self.folder / f"z{number}"
        folder.mkdir(exist_ok=True)
        (folder / "myid").write_text(f"{number + 1}\n")
        members = [
            f"server.{n + 1}=127.0.0.1:{self.port(n) + PEERS}:{self.port(n) + ELECTIONS}\n"
            for n in range(self.count)
        ]
        place = f"dataDir={folder}\nclientPort={self.port(number)}\n"
        settings = self.folder / f"z{number}.cfg"
        settings.write_text(SETTINGS + place + "".join(members))
        program = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return ["java", "-cp", str(JAR), program, str(settings)]

    def leader(self) -> int | None:
        """Return the number of the leader, once every server serves."""
        modes = [self._mode(number) for number in self.processes]
        return modes.index("leader") if all(modes) and "leader" in modes else None

    def _mode(self, number: int) -> str:
        """Return a server's role, "" while it does not serve."""
        try:
            with socket.create_connection(("127.0.0.1", self.port(number)), 5) as connection:
                connection.sendall(b"srvr")
                said = connection.makefile().read()
        except OSError:
            return ""
        match = re.search(r"^Mode: (\w+)$", said, re.MULTILINE)
        return match[1] if match else ""

    def fdatasyncs(self) -> int | None:
        return None


def version() -> str | None:
    """Return ZooKeeper's version, or None if it, Java or kazoo isn't installed."""
    if not JAR.exists() or not shutil.which("java") or not importlib.util.find_spec("kazoo"):
        return None
    command = ["java", "-cp", str(JAR), "org.apache.zookeeper.version.VersionInfoMain"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"version (\d[.\d]*)", done.stdout)
    return match[1] if match else "unknown"
