"""A signal that doesn't interrupt the main thread's wait, on demand."""

# At SIGUSR1 a thread takes SIGTERM itself. That doesn't interrupt the main thread, just like a
# signal between its last check for signals and its wait.
TAKES_SIGTERM = """
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def take():
    signal.sigwait([signal.SIGUSR1])
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Thread(target=take, daemon=True).start()
"""


def with_stray_signal(program: str) -> str:
    """Return Python text that runs the program at this path, together with such a thread."""
    return f"{TAKES_SIGTERM}import runpy; runpy.run_path({program!r}, {{}}, '__main__')"
