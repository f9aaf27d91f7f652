"""A signal that does not interrupt the main thread's wait, at will."""

# At SIGUSR1 a thread takes SIGTERM itself. The main thread is not interrupted by that, just as by
# a signal that comes between its last look for signals and its wait.
TAKES_SIGTERM = """
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def take():
    signal.sigwait([signal.SIGUSR1])
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Thread(target=take, daemon=True).start()
"""


def with_stray_signal(program: str) -> str:
    """Return Python text that runs the program of this path, with such a thread beside it."""
    return f"{TAKES_SIGTERM}import runpy; runpy.run_path({program!r}, {{}}, '__main__')"
