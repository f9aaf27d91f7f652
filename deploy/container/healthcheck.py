"""Whether the node of this container is well, for Docker: exit status 0, or 1 and a line.

It asks for /health. Where the node speaks TLS it makes a handshake at the node's port as well. So
a certificate that has expired, or is for another name, shows here.
"""

import os
import socket
import ssl
import sys
import urllib.request

LIMIT_S = 4.0


def look() -> str:
    """Return what is wrong, "" where all is well."""
    try:
        door = os.environ["RAFTLINE_SERVER_HTTP"].rpartition(":")[2]
        urllib.request.urlopen(f"http://127.0.0.1:{door}/health", timeout=LIMIT_S).close()
        if authority := os.environ.get("RAFTLINE_SERVER_TLS_CA"):
            place = ("127.0.0.1", int(os.environ["RAFTLINE_SERVER_PORT"]))
            context = ssl.create_default_context(cafile=authority)
            cert, key = (os.environ[f"RAFTLINE_SERVER_TLS_{part}"] for part in ("CERT", "KEY"))
            context.load_cert_chain(cert, key)
            name = os.environ["RAFTLINE_SERVER_NAME"]
            with socket.create_connection(place, LIMIT_S) as connection:
                context.wrap_socket(connection, server_hostname=name).close()
    except (OSError, KeyError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(look() or 0)
