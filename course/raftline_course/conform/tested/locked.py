"""The lock around another author's node: `locked.py FOLDER COMMAND…`, on Linux (Landlock).

COMMAND may write only in FOLDER. It may read the folders that a program needs: the system's, and
the folders of files that its arguments name. From Linux 6.12 on, it can't signal processes outside.
It has only Internet sockets, and only local ones if the kit has first entered its own network. No
rights are needed. This file runs by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import shutil
import socket
import struct
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from raftline_course.grading.isolation import sandbox

CREATE, ADD, RESTRICT = 444, 445, 446  # the same on each architecture
NO_NEW_PRIVILEGES, PATH_BENEATH, VERSION = 38, 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1, 2, 4, 8, 1 << 14
ALL_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}  # later ones add devices
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
READ = EXECUTE | READ_FILE | READ_DIR
SCOPES = 3  # abstract sockets and signals, since ABI 6
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
FILE_BYTES = 1 << 30
NEW_USER, NEW_NETWORK = 0x1000_0000, 0x4000_0000
INTERFACE, SET_FLAGS, UP = "16sH14x", 0x8914, 1  # struct ifreq and SIOCSIFFLAGS
EXIT_CANNOT = 96


class CannotLock(OSError):
    """A machine without such a lock."""


def enter_own_network() -> None:
    """Cut this process and its children off from every network except loopback. Call this before
    there is a second thread. A child tries it first, since it may fail half done.

    Raises:
        CannotLock: the system or the user's rights don't allow it.
    """
    reading_end, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(writing_end, _entered().encode())
        os._exit(0)
    os.close(writing_end)
    with open(reading_end, encoding="utf-8") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    if said == "in it":
        said = _entered()
    if said != "in it":
        raise CannotLock(said or "a try ended without an answer")


def _entered() -> str:
    """Enter a network; return the obstacle, or a word that it is done."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    try:
        if libc.unshare(NEW_NETWORK):  # no rights for this, but a user namespace gives them
            if libc.unshare(NEW_NETWORK | NEW_USER):
                return f"unshare: {os.strerror(ctypes.get_errno())}"
            Path("/proc/self/setgroups").write_bytes(b"deny")
            Path("/proc/self/uid_map").write_bytes(b"%d %d 1" % (user, user))
            Path("/proc/self/gid_map").write_bytes(b"%d %d 1" % (group, group))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            fcntl.ioctl(asked, SET_FLAGS, struct.pack(INTERFACE, b"lo", UP))
    except OSError as error:
        return str(error)
    return "in it"


def _call(number: int, *values: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    found: int = libc.syscall(number, *values)
    if found < 0:
        raise CannotLock(os.strerror(ctypes.get_errno()))
    return found


def abi() -> int:
    """Return the version of Landlock on this machine.

    Raises:
        CannotLock: there is none.
    """
    if sys.platform != "linux":
        raise CannotLock("this is not Linux")
    return _call(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION))


def lock(folder: str, readable: list[str]) -> None:
    """Permanently restrict the writes of this process and its children to `folder`.

    Raises:
        CannotLock: the kernel refuses.
    """
    version = abi()
    known = ALL_BY_ABI[min(version, 3)]
    attributes = struct.pack("QQQ", known, 0, SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _call(CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    places = [(one, READ) for one in (*SYSTEM, *readable)]
    places += [(one, READ | WRITE_FILE) for one in DEVICES]
    for place, access in [*places, (folder, known)]:
        _allow(rules, place, access & known)
    ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call(RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def _allow(rules: int, place: str, access: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
        access &= -1 if Path(place).is_dir() else OF_FILES
        beneath = struct.pack("=Qi", access, opened)
        _call(ADD, ctypes.c_int(rules), ctypes.c_int(PATH_BENEATH), beneath, ctypes.c_uint32(0))
        os.close(opened)


def own_places(command: list[str]) -> list[str]:
    """Return the program's folder, and the files that its command names, with their folders. A
    file in `bin` or `src` also needs the folder around that. A whole home folder is never included,
    only the named paths in it. The current folder is included if it is named, or if the command is
    a program in `bin` without a file argument: `cargo run`, `python3 -m node`."""
    program = Path(shutil.which(command[0]) or command[0])
    named = [Path(word) for word in command[1:] if os.sep in word or os.path.isfile(word)]
    named = [one for one in named if one.exists()]
    found = [path for one in (program, *named) for path in (one.absolute(), one.resolve())]
    places = {str(one if one.is_dir() else one.parent) for one in found}
    places |= {os.path.dirname(one) for one in places if one.endswith(("/bin", "/src"))}
    if not named and program.absolute().parent.name in ("bin", "sbin"):
        places.add(os.getcwd())
    homes = {str(Path.home()), str(Path.home().resolve()), "/"}
    return sorted({*(places - homes), *(str(one) for one in found if one.is_file())})


def main() -> None:
    """Lock this process, and become the command."""
    folder, command = sys.argv[1], sys.argv[2:]
    readable = own_places([word for word in command if word != folder])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    os.environ["HOME"] = os.environ["TMPDIR"] = folder
    try:
        lock(folder, readable)
        sandbox.allow_internet_sockets_alone()
    except OSError as error:
        print(f"this machine can't lock a node in: {error}", file=sys.stderr)
        sys.exit(EXIT_CANNOT)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
