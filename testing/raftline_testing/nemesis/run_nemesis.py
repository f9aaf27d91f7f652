"""`make -C testing nemesis`: a campaign of faults against real nodes, and its report.

As root, or with user namespaces, each node has its own network and disk; else a proxy stands
between the nodes. Exit status 0: no finding, 1: a finding, with its evidence in a folder next to
the report; 130 and 143: stopped from outside.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[3]
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "testing")]

from raftline_testing.extensions import joined
from raftline_testing.nemesis.campaign import Campaign
from raftline_testing.nodes import namespaces
from raftline_testing.nodes.namespaces import NoNamespaces

OTHERS = {module.__name__.split(".")[1]: module for module in joined("campaign")}


def main() -> int:
    """Run a campaign, write its report, and return 1 if there is a finding."""
    options = _parser().parse_args()
    handlers = {signal.SIGTERM: _stop, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return _campaign(options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _campaign(options: argparse.Namespace) -> int:
    has_namespaces = False
    if options.network != "proxy":
        try:
            namespaces.enter()
            has_namespaces = True
        except NoNamespaces as reason:
            missing = "no disk is filled, no link is thinned, no new node joins"
            print(
                f"No namespaces here ({reason}): with a proxy between the nodes {missing}. As "
                "root, or with user namespaces, all of that is done, too.",
                flush=True,
            )
            if options.network == "namespaces":
                return 2
    campaign, status = Campaign(options, has_namespaces, OTHERS.get(options.others)), 0
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    try:
        campaign.run()
    except KeyboardInterrupt:
        status = 130
    except SystemExit as stopped:
        status = int(str(stopped.code))
    campaign.tally.status = status
    report = campaign.finish()
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(report, encoding="utf-8")
    with contextlib.suppress(BrokenPipeError):
        print(report, f"\nThis report: {options.report}", sep="")
    return 1 if campaign.tally.findings else status


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    # fmt: off
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--nodes", type=int, choices=(0, 3, 4, 5, 7), default=0,
                        help="0: a cluster of 5, then one of 3, and so on")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--beat", type=float, default=0.1, help="seconds between two requests")
    parser.add_argument("--compact-at", type=int, default=65_536)
    parser.add_argument("--network", choices=("auto", "namespaces", "proxy"), default="auto")
    parser.add_argument("--report", type=Path, default=Path("build/nemesis/report.md"))
    parser.add_argument("--haste", type=float, default=1.0,
                        help="below 1: faults are so much shorter, and come so much faster")
    parser.add_argument("--each-kind", action="store_true",
                        help="continue until each kind of fault has occurred")
    parser.add_argument("--with", dest="others", choices=OTHERS,
                        help="half of the clients are those of this extension")
    # fmt: on
    parser.add_argument("--verbose", action="store_true", help="print each fault")
    return parser


if __name__ == "__main__":
    sys.exit(main())
