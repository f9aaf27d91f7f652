"""One node of the repair lab: `python3 course/labs/repair/node.py node1`.

With --course-words its console speaks as the course's program did (spoken.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

from functools import partial

from labs.repair.arguments import members_of, parser_of


def main() -> int:
    """Run the node; return the exit status."""
    parser = parser_of(
        "One node of the repair lab.",
        "All other options are the server's: --pace class, --controller-from HOST, …",
    )
    parser.add_argument("name", help="which line of the configuration: node1")
    parser.add_argument("--cloud", action="store_true", help="listen on 0.0.0.0, for all to reach")
    parser.add_argument("--course-words", action="store_true", help="speak as the course's program")
    arguments, options = parser.parse_known_args()
    members = members_of(parser, arguments.config, arguments.name)
    words = [
        *(arguments.name, str(members[arguments.name].port)),
        *("--dir", str(arguments.config.resolve().parent), "--controller"),
        *(["--host", "0.0.0.0", "--open-to-network", "--insecure"] if arguments.cloud else []),
        *options,
    ]
    from labs.repair.spoken import SeedConsole, SeedServer  # loads a whole server: only for a node
    from labs.repair.watchful import WatchfulServer
    from raftline.common.process.console import Console
    from raftline_course import controlled_server

    sys.argv[0] = "server.py"  # the name at the beginning of argument errors
    if not arguments.course_words:
        return controlled_server.main(words, console_of=Console, server_of=WatchfulServer)
    return controlled_server.main(
        words, console_of=partial(SeedConsole, arguments.name), server_of=SeedServer
    )


if __name__ == "__main__":
    sys.exit(main())
