"""The start of a node whose syncs are watched: `launch.py SOCKET COMMAND…`, on Linux.

A seccomp filter makes the kernel ask a listener before each fsync and its relatives. The listener
goes to the kit over SOCKET, and COMMAND replaces this process. This file runs by itself.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys

ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
NO_NEW_PRIVILEGES, SET_MODE_FILTER, NEW_LISTENER = 38, 1, 8
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
# The numbers of seccomp, and of fsync, fdatasync, msync, sync and syncfs.
NUMBERS = {
    "x86_64": (317, (74, 75, 26, 162, 306)),
    "aarch64": (277, (82, 83, 227, 81, 267)),
}
EXIT_CANNOT = 97


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def listener_of_syncs() -> int:
    """Make the kernel ask before this process syncs; return the listener's descriptor.

    Raises:
        OSError: this machine doesn't support such filters.
    """
    seccomp, syncs = NUMBERS[platform.machine()]
    code = _instruction(LOAD, 0, 0, 0)
    for place, number in enumerate(syncs):
        code += _instruction(EQUAL, len(syncs) - place, 0, number)
    code += _instruction(RETURN, 0, 0, ALLOW) + _instruction(RETURN, 0, 0, NOTIFY)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    found: int = libc.syscall(seccomp, SET_MODE_FILTER, NEW_LISTENER, ctypes.byref(program))
    if found < 0:
        raise OSError(ctypes.get_errno(), "no seccomp filter with a listener")
    return found


def main() -> None:
    """Install the filter, hand over its listener, and become the command."""
    with socket.socket(socket.AF_UNIX) as kit:
        kit.connect(sys.argv[1])
        try:
            listener = listener_of_syncs()
        except (OSError, KeyError, AttributeError):
            sys.exit(EXIT_CANNOT)
        socket.send_fds(kit, [b"!"], [listener])
        os.close(listener)
        kit.recv(1)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
