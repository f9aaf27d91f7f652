"""The lock around a hand-in: its process can only compute, and read and write its pipes.

On Linux a list of allowed system calls (seccomp) holds for the rest of the process's life. It opens
no file, starts no process or thread, sends no signal, and has no network: each try is an error.
Anywhere else only the limits apply. `isolation` returns which.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Sequence

MEMORY_BYTES = 1 << 30
OPEN_FILES = 16
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# read write close lseek fstat brk mmap munmap mprotect mremap madvise futex sigaction sigprocmask
# sigreturn sigaltstack restart exit exit_group getrandom clock_gettime getpid gettid gettimeofday
# sched_yield membarrier, and x86's time. Calls that sleep are left out: a step takes no time.
CALLS = {
    "x86_64": (
        0, 1, 3, 8, 5, 12, 9, 11, 10, 25, 28, 202, 13, 14, 15, 131, 219, 60, 231, 318, 228,
        39, 186, 96, 24, 324, 201,
    ),
    "aarch64": (
        63, 64, 57, 62, 80, 214, 222, 215, 226, 216, 233, 98, 134, 135, 139, 132, 128, 93, 94, 278,
        113, 172, 178, 169, 124, 283,
    ),
}  # fmt: skip
SOCKET_CALLS = {"x86_64": (41, 425), "aarch64": (198, 425)}  # socket; io_uring_setup
# chmod, chown, utime, setxattr and removexattr with their relatives, which Landlock does not know.
# From 452 on (fchmodat2, setxattrat, removexattrat, file_setattr) the numbers are the same.
ATTRIBUTE_CALLS = {
    "x86_64": (
        90, 91, 92, 93, 94, 132, 188, 189, 190, 197, 198, 199, 235, 260, 261, 268, 280,
        452, 463, 466, 469,
    ),
    "aarch64": (5, 6, 7, 14, 15, 16, 52, 53, 54, 55, 88, 452, 463, 466, 469),
}  # fmt: skip
FAMILIES = (2, 10, 16)  # AF_INET, AF_INET6 and AF_NETLINK, which listing interfaces needs
X32 = 1 << 30  # from here on, calls have other numbers on x86-64
_LOAD_FAMILY = struct.pack("HBBI", 0x20, 0, 0, 16)  # the low half of a call's first argument
_IGNORE = 0x00050000  # the call returns 0, and does nothing
_ABSENT = 0x00050026  # ENOSYS: a program then does without the call
_LOAD_ARCH, _LOAD_CALL = struct.pack("HBBI", 0x20, 0, 0, 4), struct.pack("HBBI", 0x20, 0, 0, 0)
_KILL, _DENY, _ALLOW = 0x80000000, 0x00050001, 0x7FFF0000  # deny: EPERM
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2


def can_lock() -> bool:
    """Whether there is a list of allowed calls for this machine."""
    return sys.platform == "linux" and platform.machine() in ARCH


def isolation() -> str:
    """Return the isolation of a hand-in here, for the head of the table."""
    if can_lock():
        return "each run in a process without files, network and processes (seccomp)"
    return (
        "[!] only limits of time and memory hold a hand-in on this machine: it may read and "
        "delete your files. Grade on Linux, or in a container"
    )


def set_limits(cpu_seconds: int) -> None:
    """Limit this process to this much processor time, and little memory."""
    for what, most in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),  # if there is no list of calls; has no effect for root
    ):
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):  # a lower one is in force, or it doesn't exist here
            continue


def lock() -> None:
    """Permanently restrict this process to the listed calls.

    Raises:
        OSError: the kernel refuses; then no code of a hand-in may run.
    """
    if not can_lock():
        return
    machine = platform.machine()
    program = [
        _LOAD_ARCH, _jump(ARCH[machine], 1, 0), _give(_KILL),
        _LOAD_CALL,
    ]  # fmt: skip
    for number in CALLS[machine]:
        program += [_jump(number, 0, 1), _give(_ALLOW)]
    _install([*program, _give(_DENY)])


def allow_internet_sockets_alone() -> None:
    """Permanently refuse all new sockets except Internet sockets: file system sockets reach the
    services of a user's session. Ignore calls that change modes, owners, times and attributes of
    files. All other calls stay allowed except io_uring, which can also create sockets.

    Raises:
        OSError: the kernel refuses.
    """
    if not can_lock():
        return
    machine = platform.machine()
    socket_call, *others = SOCKET_CALLS[machine]
    answers = [(number, _ABSENT) for number in others]
    answers += [(number, _IGNORE) for number in ATTRIBUTE_CALLS[machine]]
    _install([
        _LOAD_ARCH, _jump(ARCH[machine], 1, 0), _give(_KILL),
        _LOAD_CALL, _at_least(X32, 0, 1), _give(_KILL),
        *(part for number, answer in answers for part in (_jump(number, 0, 1), _give(answer))),
        _jump(socket_call, 1, 0), _give(_ALLOW),
        _LOAD_FAMILY,
        *(part for family in FAMILIES for part in (_jump(family, 0, 1), _give(_ALLOW))),
        _give(_DENY),
    ])  # fmt: skip


def _install(program: Sequence[bytes]) -> None:
    code = ctypes.create_string_buffer(b"".join(program))
    packed = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    )
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    words = ctypes.c_ulong
    if prctl(_NO_NEW_PRIVS, words(1), words(0), words(0), words(0)) or prctl(
        _SET_SECCOMP, words(_FILTER), ctypes.byref(packed), words(0), words(0)
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _jump(value: int, if_so: int, if_not: int) -> bytes:
    return struct.pack("HBBI", 0x15, if_so, if_not, value)


def _at_least(value: int, if_so: int, if_not: int) -> bytes:
    return struct.pack("HBBI", 0x35, if_so, if_not, value)


def _give(verdict: int) -> bytes:
    return struct.pack("HBBI", 0x06, 0, 0, verdict)
