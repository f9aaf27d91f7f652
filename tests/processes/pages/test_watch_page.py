"""The transcripts of docs/use/watch.md, played with real nodes and compared line by line."""

from __future__ import annotations

import re
from pathlib import Path

from raftline_testing.nodes.cluster import Cluster

PAGE = Path(__file__).resolve().parents[3] / "docs" / "use" / "watch.md"
BLOCK = re.compile(r"^```transcript (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<=EVENT )[0-9]+|(?<=as of )[0-9]+|(?<=after )[0-9]+")


def test_a_follower_tells_what_the_page_says(cluster: Cluster) -> None:
    for pair in ("app/a 5", "app/b two words"):
        cluster.ask(f"client5@set {pair}")
    # The page begins with entry 57; here that is another number.
    shift = 57 - cluster["s1"].status()["last_applied"]
    page = [(found[1], found[2].splitlines()) for found in BLOCK.finditer(PAGE.read_text())]
    assert {kind for kind, _ in page} == {"watcher", "writer"}
    cluster.wait_until_equal()
    with cluster["s2"].connect() as watcher, cluster["s1"].connect() as writer:
        for kind, lines in page:
            conversation = watcher if kind == "watcher" else writer
            for line in lines:
                if re.match(r"s[12](#[0-9]+)?@", line):
                    said = conversation.read_line()
                    assert NUMBER.sub(lambda n: str(int(n[0]) + shift), said) == line
                else:
                    conversation.send(NUMBER.sub(lambda n: str(int(n[0]) - shift), line))
