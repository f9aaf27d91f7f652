"""Members that prove themselves to each other, by the cluster's secret or by certificates, and an
impostor; in some schedules.

In these, every message travels as a line on a connection that its sender made, and counts only on a
proved one. The secret is changed in steps, by files that may be reloaded at any time: each node
gets a second secret, then the two swap places, then the first is removed. A node accepts nothing
from a sender without one of its secrets; members that share one always succeed with their proof.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from raftline.access.proof import ProofError, proving
from raftline.access.secret import PeerAuth, parse_secrets
from raftline.access.tls import MEMBER, named_in
from raftline.common.config import ConfigError
from raftline.net.protocol.host import Origin
from raftline.raft.inputs import PeerDisconnected
from raftline.raft.messages import Answer, Message, RequestVote, RequestVoteReply
from raftline.wire.peer_lines import format_message
from raftline.wire.protocol import split_sender

from ...invariants import InvariantError
from ..nodes.node_connections import Doors, SimulatedConnection
from ..nodes.request_interface import Asked
from ..nodes.simulated_node import Host
from ..world.network import Network
from ..world.world import World

SHARE = 1 / 8  # of schedules
WRONG = b"a-secret-that-nobody-in-this-cluster-knows"
BROKEN = (b"short", b"", WRONG + b" two words", b"\n".join([WRONG] * 3))
PATIENCE_MS = 300  # of the dialing side


def secret(number: int) -> bytes:
    """Return the secret with this number."""
    return f"the-secret-of-this-cluster-number-{number:06}".encode()


def certificate(name: str, *, is_member: bool) -> dict[str, object]:
    """Return what a TLS library reports of a verified certificate."""
    unit = ((("organizationalUnitName", MEMBER),),) if is_member else ()
    return {"subject": (*unit, (("commonName", name),))}


class SecretPath:
    """The file of a secret, in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def read_secrets(path: Any, option: str) -> tuple[bytes, bytes]:
    """Read such a file, as `access.secret.read_secrets` reads one on a disk."""
    return parse_secrets(path.data, Path("secret"), option)


class Door(Doors):
    """A node as its peers see it, and its requests to them."""

    def __init__(self, world: World, chance: Random, host: Host, *, by_secret: bool) -> None:
        self._chance = chance  # it draws tokens, as soon as it begins
        super().__init__(host)
        self._member = host
        self._world = world
        self._by_secret = by_secret
        self._path: Any = SecretPath(secret(0))
        self.good = self._path.data
        self._incarnation = 0
        self.in_force = b""  # as written in the file
        self.connections: list[PeerConnection] = []
        self.wires: list[Wire] = []  # the connections from here
        # The identity that a node announces on its connections.
        self.cluster_of: Callable[[str], str] = lambda name: ""

    # --- its secret ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Check whether the node was restarted, and has read its file."""
        if self._incarnation == self._member.incarnation:
            return
        self._incarnation = self._member.incarnation
        self._path.data = self.in_force = self.good
        self.connections = []
        self.peer_auth = PeerAuth(b"", is_required=True)
        if self._by_secret:
            one, other = read_secrets(self._path, "--secret")
            self.peer_auth = PeerAuth(one, True, other, self._path)

    def write(self, data: bytes, *, is_broken: bool = False) -> None:
        """Write this content to the file."""
        self._path.data = data
        if not is_broken:
            self.good = data

    def read_again(self) -> None:
        """Make the node reload the file, as SIGHUP does."""
        from raftline.node.program.reload import readers_of

        self.begin()
        book = SimpleNamespace(prove_by=self._prove_by)
        server: Any = SimpleNamespace(
            access=None, peer_auth=self.peer_auth, tls=None, book=book, listener=self
        )
        reader, before = readers_of(server)["secret"], self.peer_auth
        is_good = self._path.data == self.good
        try:
            reader()
        except ConfigError:
            if is_good or server.peer_auth != before:
                raise InvariantError(f"{self.name} does not take a good secret") from None
            self._world.counts["broken secrets"] += 1
        else:
            self._world.counts["secrets read again"] += 1
            self.in_force = self._path.data

    def _prove_by(self, peer_auth: PeerAuth) -> None:
        self.peer_auth = peer_auth
        for wire in self.wires:
            if wire.proven_by and wire.proven_by not in peer_auth.secrets:
                wire.break_off()

    def secret_changed(self) -> None:
        """Make all connections check the secret, as the listener does."""
        self.connections = [one for one in self.connections if not one.is_over]
        for connection in self.connections:
            connection.secret_changed()

    @property
    def is_behind(self) -> bool:
        """Whether the node runs, but hasn't reloaded its file."""
        return self._member.node is not None and self.in_force != self.good

    # --- for connections ------------------------------------------------------------------------

    def new_token(self, size: int) -> str:
        return f"{self._chance.getrandbits(8 * size):0{2 * size}x}"

    def is_peer(self, name: str) -> bool:
        return name in self._view.contacts or name == self._view.leader != self.name

    def peer_refusal(self, sender: str, message: Message | None) -> str:
        node = self._member.node
        if self.is_peer(sender) or (node and message is not None and node.accepts(message)):
            return ""
        return super().peer_refusal(sender, message)

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        assert isinstance(origin, PeerConnection)
        for message in received:
            if not origin.may_speak_for(message.sender):
                raise InvariantError(f"{self.name} accepts {message} without a proof")
            self._member.hear_now(message, self.cluster_of(message.sender))
        self._world.counts["messages of proven members"] += len(received)
        return []

    def peer_disconnected(self, peer: str) -> None:
        self._member.take(PeerDisconnected(peer))


class PeerConnection(SimulatedConnection):
    """An incoming connection, on which a client speaks for a peer. The true maker is recorded, but
    the node doesn't see that."""

    def __init__(self, door: Door, host: Host, wire: Wire, name: str, known: bytes) -> None:
        super().__init__(door, host, self._line_left)
        self._door = door
        self._wire = wire
        self._name = name
        self._known = known  # the secret; b"" if there is none
        door.connections.append(self)
        host.requests.keep(self)

    def may_speak_for(self, name: str) -> bool:
        """Whether its maker is that member, and proves it by the secrets in force."""
        if name != self._name or not self._wire.is_members:
            return False
        return not self._known or self._known in self._door.peer_auth.secrets

    def receive(self, data: bytes) -> None:
        if not self.has_hung_up:  # otherwise the node has shut it down
            super().receive(data)

    def secret_changed(self) -> None:
        """Act like `Connection.secret_changed`."""
        if not self.is_over and not self.admission.proof_counts:
            self.break_off()
            self._sim.beside(0, 0.5, self.take, 0)

    def end(self) -> None:
        if not self.is_over:
            super().end()
            name = self.admission.speaks_for
            if name is not None and self._door.speakers.release(name, self):
                self._door.peer_disconnected(name)

    def _line_left(self, _: SimulatedConnection, line: str) -> None:
        text = split_sender(line)[2]
        heard = Asked(None, "", lambda _: self._wire.answered(self, text))
        self._sim.note_reply(self, heard)


class Wire:
    """The lines from one member to another, over successive connections."""

    def __init__(self, proofs: Proofs, near: Host, far: Host, *, is_members: bool = True) -> None:
        self.is_members = is_members
        self.proven_by = b""
        self._proofs = proofs
        self._near = near
        self._far = far
        self._connection: PeerConnection | None = None
        self._steps: Generator[str, str, str] | None = None
        self._secret = b""
        self._is_up = False
        self._incarnation = 0  # of the near end
        self._began_ms = 0

    @property
    def is_up(self) -> bool:
        """Whether lines can be sent, and answers received."""
        connection = self._connection
        if connection is None or connection.is_over:
            return False
        return self._is_up and self._incarnation == self._near.incarnation

    def break_off(self) -> None:
        """End the connection, from the near side."""
        connection, self._connection = self._connection, None
        self._steps, self._is_up, self.proven_by = None, False, b""
        if connection is not None and not connection.is_over:
            self._far.beside(0, 0.5, connection.hang_up)

    def send(self, message: Message) -> None:
        """Deliver a message to the far side if there is a connection; else make one."""
        connection = self._connection
        if connection is not None and self.is_up:
            line = f"{message.sender}@{format_message(message)}\n".encode()
            self._far.when_up(lambda: connection.receive(line))
        elif self._near.node is not None and not self._near.paused:
            self._dial()

    def _dial(self) -> None:
        proofs, now_ms = self._proofs, self._proofs.world.now_ms
        if self._steps is not None and now_ms < self._began_ms + PATIENCE_MS:
            return
        self.break_off()
        near, far = proofs.doors[self._near.name], proofs.doors[self._far.name]
        if self._far.node is None or self._far.paused:
            return
        near.begin()
        far.begin()
        self._incarnation, self._began_ms = self._near.incarnation, now_ms
        nonce = near.new_token(16)
        initiator = near.peer_auth.initiator(near.name, far.name, nonce)
        self._secret = initiator.secret if initiator is not None else b""
        connection = PeerConnection(far, self._far, self, near.name, self._secret)
        self._connection = connection
        if initiator is None:
            connection.admission.certify(near.name, is_member=True)
            theirs = certificate(far.name, is_member=True)
            self._is_up = named_in(theirs) == (far.name, True)
            return
        self._steps = proving(initiator)
        self._say(next(self._steps))

    def _say(self, text: str) -> None:
        connection, proofs = self._connection, self._proofs
        line = f"{self._near.name}@{text}\n".encode()
        if connection is not None and proofs.arrives(self._near, self._far):
            self._far.beside(proofs.delay_ms(), proofs.tie(), connection.receive, line)

    def answered(self, connection: PeerConnection, text: str) -> None:
        """Take an answer of the far side; ignore a complaint about a message."""
        proofs, is_awaited = self._proofs, self._steps is not None
        if connection is self._connection and is_awaited and proofs.arrives(self._far, self._near):
            self._near.beside(proofs.delay_ms(), proofs.tie(), self._take, connection, text)

    def _take(self, connection: PeerConnection, text: str) -> None:
        steps, auth = self._steps, self._proofs.doors[self._near.name].peer_auth
        if connection is not self._connection or steps is None:
            return
        try:
            self._say(steps.send(text))
            return
        except StopIteration as end:
            refusal = str(end.value)
        except ProofError as problem:
            refusal = str(problem)
        self._steps = None
        if self._secret == auth.secret:  # else another secret was in use at the start
            self._proofs.judge(self._far, refusal)
        if refusal or self._secret not in auth.secrets:
            self.break_off()
        else:
            self._is_up, self.proven_by = True, self._secret


class Proofs:
    """All connections between members, the changes of their secret, and an impostor."""

    def __init__(self, world: World, network: Network, hosts: Sequence[Host], seed: int) -> None:
        chance = self._chance = Random(f"proofs {seed}")
        self.world = world
        self.is_on = chance.random() < SHARE and len(hosts) > 1
        if not self.is_on:
            return
        self._network = network
        self._hosts = hosts
        self._by_name: Mapping[str, Host] = {host.name: host for host in hosts}
        by_secret = self._by_secret = chance.random() < 0.8
        self.doors = {host.name: Door(world, chance, host, by_secret=by_secret) for host in hosts}
        self._wires = {
            (one.name, other.name): Wire(self, one, other)
            for one in hosts
            for other in hosts
            if one is not other
        }
        for (near, _), wire in self._wires.items():
            self.doors[near].wires.append(wire)
        for door in self.doors.values():
            door.cluster_of = lambda name: self._by_name[name].cluster
        network.deliver = self._deliver
        self._over = False
        self._number = 0  # of the secret in use
        self._plan = [secret(0)]  # the successive contents of the files
        self._astray: str | None = None  # the node with a wrong secret
        self._astray_until_ms = -1
        self._act_later()

    def finish(self) -> None:
        """Give all members the same secret, and stop the faults."""
        if self.is_on:
            self._over = True
            for door in self.doors.values():
                door.write(secret(self._number))
                self._have_read(door)

    # --- the network -----------------------------------------------------------------------------

    def arrives(self, sender: Host, to: Host) -> bool:
        """Whether a line of a proof gets through."""
        return self._network.are_linked(sender.name, to.name)

    def delay_ms(self) -> int:
        """Draw how long a line takes."""
        return self._chance.randint(0, 5)

    def tie(self) -> float:
        """Draw the order of simultaneous events."""
        return self._chance.random()

    def _deliver(self, message: Message) -> None:
        if not isinstance(message, Answer):
            self._wires[message.sender, message.to].send(message)
        elif self._wires[message.to, message.sender].is_up:  # answered on that connection
            self._by_name[message.to].hear(message, self._by_name[message.sender].cluster)

    def judge(self, far: Host, refusal: str) -> None:
        """Check the end of a proof between members: a change in steps separates no members.

        Raises:
            InvariantError: it was refused, though no node has a wrong secret.
        """
        self.world.counts["proofs refused" if refusal else "proofs"] += 1
        are_right = self._astray is None and self.world.now_ms > self._astray_until_ms
        if refusal and are_right and not self._over:
            raise InvariantError(f"{far.name} refuses the proof of a member: {refusal}")

    # --- trouble ---------------------------------------------------------------------------------

    def _act_later(self) -> None:
        self.world.beside(self._chance.randint(5, 300), self._chance.random(), self._act)

    def _act(self) -> None:
        if self._over:
            return
        self._act_later()
        chance = self._chance
        kind = chance.choice(["secret", "secret", "secret", "impostor", "break", "astray"])
        if kind == "impostor":
            self._pretend()
        elif kind == "break":
            chance.choice(list(self._wires.values())).break_off()
        elif self._by_secret and kind == "secret":
            self._go_on()
        elif self._by_secret:
            self._lead_astray()

    def _go_on(self) -> None:
        """Give one more node the new content, or begin the next step."""
        data, chance = self._plan[0], self._chance
        behind = [door for door in self.doors.values() if door.good != data or door.is_behind]
        if behind:
            door = chance.choice(behind)
            if chance.random() < 0.1:
                door.write(chance.choice(BROKEN), is_broken=True)
            else:
                door.write(data)
                if door.name == self._astray:
                    self._astray, self._astray_until_ms = None, self.world.now_ms + 2000
            self._have_read(door)
        elif len(self._plan) > 1:
            self._plan.pop(0)
            self._number += len(self._plan) == 1
        else:
            old, new = secret(self._number), secret(self._number + 1)
            self._plan += [old + b"\n" + new, new + b"\n" + old, new]
            self.world.counts["secrets changed"] += 1

    def _lead_astray(self) -> None:
        """Give one node another secret, until its turn comes again."""
        if self._astray is None and len(self._plan) == 1 and self._chance.random() < 0.3:
            door = self._chance.choice(list(self.doors.values()))
            self._astray = door.name
            door.write(WRONG)
            self._have_read(door)

    def _have_read(self, door: Door) -> None:
        host = self._by_name[door.name]
        if host.node is not None and self._by_secret:
            host.beside(self._chance.choice([0, 5, 50]), self._chance.random(), door.read_again)

    def _pretend(self) -> None:
        """Speak in a member's name to another one, by a wrong secret or without a proof."""
        chance = self._chance
        to = chance.choice(self._hosts)
        if to.node is None or to.paused:
            return
        others = [host.name for host in self._hosts if host is not to]
        name, door = chance.choice(others), self.doors[to.name]
        door.begin()
        wire = Wire(self, to, to, is_members=False)
        connection = PeerConnection(door, to, wire, name, b"")
        term = to.node.view.term + chance.randint(1, 3)
        if not self._by_secret and chance.random() < 0.7:
            is_member = chance.random() < 0.5  # the impostor is a member with another name
            known = "s99" if is_member else name
            connection.admission.certify(known, is_member=is_member)
        messages: list[Message] = [
            RequestVote(name, to.name, term, 10**6, term - 1),
            RequestVote(name, to.name, term, 10**6, term - 1, pre_vote=True),
            RequestVoteReply(name, to.name, term, True),
        ]
        lines = [f"{name}@Prove {to.name} nonce {door.new_token(16)}"]
        lines += [f"{name}@Proof {door.new_token(32)}"] if chance.random() < 0.5 else []
        lines += [f"{name}@{format_message(chance.choice(messages))}"]
        data = "".join(f"{line}\n" for line in lines[chance.randint(0, 1) :]).encode()
        to.beside(0, chance.random(), connection.receive, data)
        to.beside(20, chance.random(), connection.hang_up)
        self.world.counts["impostors"] += 1
