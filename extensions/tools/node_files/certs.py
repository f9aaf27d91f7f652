"""`raftline secret` and `raftline certs`: what the members of a cluster prove themselves with."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from raftline.access.authority import make, renew
from raftline.access.secret import make_secret
from raftline.common.arguments import as_number, as_path
from raftline.common.config import ConfigError

if TYPE_CHECKING:
    from raftline.common.arguments import Commands


def add_commands(commands: Commands) -> None:
    """Add `secret` and `certs` to the command line."""
    _add_secret(commands)
    _add_certs(commands)


def _add_secret(commands: Commands) -> None:
    secret = commands.add_parser(
        "secret",
        help="make a secret for the members of a cluster",
        description="Write a new secret into FILE, which only its owner can read, for "
        "`raftline server --secret FILE`. Copy it to the machine of each member. Exit code 0: "
        "done; 2: FILE already exists, or can't be written.",
    )
    secret.add_argument("file", type=as_path, metavar="FILE", help="a file that does not exist yet")
    secret.set_defaults(carry_out=_secret)


def _add_certs(commands: Commands) -> None:
    certs = commands.add_parser(
        "certs",
        help="make a CA and certificates for a cluster that speaks TLS",
        description="Write a CA, and a certificate and key for each NAME, into DIR; a second run "
        "adds what is missing. For `raftline server --tls-cert DIR/NAME.pem --tls-key DIR/NAME.key "
        "--tls-ca DIR/ca.pem`. Needs the package cryptography. Exit code 0: done; 2: not.",
    )
    certs.add_argument("dir", type=as_path, metavar="DIR", help="created if it does not exist")
    certs.add_argument(
        "--node",
        action="append",
        default=[],
        metavar="NAME=HOST[,HOST]",
        help="a member and its hosts",
    )
    certs.add_argument(
        "--client", action="append", default=[], metavar="CLIENT", help="a user or a program"
    )
    certs.add_argument(
        "--days",
        type=as_number("number of days", 1, 3650),
        default=397,
        metavar="N",
        help="how long certificates are valid (397); the CA: ten years",
    )
    certs.add_argument(
        "--renew",
        action="store_true",
        help="renew each certificate in DIR that ends within 30 days; its key stays",
    )
    certs.set_defaults(carry_out=_certs)


def _certs(options: argparse.Namespace) -> int:
    if options.renew and (options.node or options.client):
        raise ConfigError("--renew renews the certificates in DIR; leave out --node and --client")
    lines = (
        renew(options.dir, options.days)
        if options.renew
        else make(options.dir, options.node, options.client, options.days)
    )
    for line in lines:
        print(line)
    return 0


def _secret(options: argparse.Namespace) -> int:
    make_secret(options.file)
    return 0
