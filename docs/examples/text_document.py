"""A text document on several servers: the core of raftline on asyncio, with a storage of its own.

    python text_document.py FOLDER s1 s1=localhost:52001 s2=localhost:52002 s3=localhost:52003

A client sends lines, for example with nc, and gets one for each. An edit may be sent again, to any
server, until the reply is "done": it changes the text once.

    edit anna 1 0 0 Hello    anna's first edit: at character 0, replace 0 characters by Hello
    show                     the document, as a JSON string, from any server
"""

import asyncio
import dataclasses
import json
import os
import random
import re
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import raftline.raft as raft

EDIT = re.compile(r"edit (\w+) (\d{1,9}) (\d{1,9}) (\d{1,9})(?: ([^\0-\37\177-\237]*))?", re.A)
SNAPSHOT_EVERY = 100  # entries
OPTIONS = raft.Options(election_timeout_ms=500, trailing_bytes=20 * SNAPSHOT_EVERY)


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Server:
    """One file holds all that must be kept, and each write replaces it: a snapshot of the document,
    the entries after it, the term and the vote, and the server's doubts about its memory."""

    def __init__(self, name: str, path: Path, members: raft.Membership) -> None:
        self.name, self.path = name, path
        empty = {"index": 0, "term": 0, "members": members.format(), "text": "", "edits": {}}
        content = [json.dumps(empty), [], [0, None], [False, True, False]]
        text = path.read_text("utf-8") if path.exists() else json.dumps(content)
        snapshot, entries, saved, memory = json.loads(text)
        self.load(snapshot)
        log = raft.Log(self.taken.index, self.taken.term)
        for _, term, command in entries:
            log.append(term, command)
        self.core = raft.node_from_disk(
            name, self.members, log, raft.HardState(*saved), OPTIONS,
            lambda: random.randrange(500, 1000), now_ms(),
            recovering=memory[0], newborn=memory[1], may_be_new=memory[2],
            incarnation=random.SystemRandom().randrange(1, 1 << 62), snapshot=self.taken,
        )  # fmt: skip
        self.arriving = bytearray()  # the leader's snapshot
        self.waiting: dict[int, asyncio.Future[str]] = {}  # the reply to the edit of each entry
        self.outgoing: dict[str, asyncio.StreamWriter] = {}
        self.tasks = [asyncio.create_task(self.dial(*at)) for at in self.core.view.contacts.items()]

    def load(self, snapshot: str) -> None:
        self.snapshot, self.state = snapshot, json.loads(snapshot)
        last, crc = (self.state["index"], self.state["term"]), zlib.crc32(snapshot.encode())
        self.taken = raft.Snapshot(*last, len(snapshot), crc)
        self.members = raft.read_membership(self.state["members"]) or raft.Membership(())

    def step(self, event: raft.Input) -> None:
        events = [event]
        try:
            while events:
                effects = self.core.step(events.pop(0), now_ms())
                events += [*self.save_and_send(effects), *self.apply_and_answer(effects)]
        except (raft.SafetyError, OSError) as error:  # the memory or the disk can't be trusted
            print(f"{self.name} stops: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    def save_and_send(self, effects: raft.Effects) -> Iterator[raft.Input]:
        """Carry out the steps 1 to 3 of an Effects; yield the inputs that report it."""
        yield from self.send(effects.send)  # 1
        for chunk in effects.chunks:  # 2
            self.arriving[chunk.offset :] = chunk.data
        if effects.install is not None:
            self.load(self.arriving.decode())
        if effects.append or effects.holds_promise:
            yield self.save()
        yield from self.send([*effects.send_past_entries, *effects.send_after_save])  # 3
        if effects.check is not None and zlib.crc32(self.arriving) == effects.check.crc:
            members = raft.read_membership(json.loads(self.arriving)["members"])
            yield raft.SnapshotChecked(effects.check, members or raft.Membership(()))
        elif effects.check is not None:
            yield raft.SnapshotRejected(effects.check, "its bytes changed on their way")

    def apply_and_answer(self, effects: raft.Effects) -> Iterator[raft.Input]:
        """Carry out step 4, and take a snapshot from time to time."""
        while self.waiting and not self.core.view.is_leader:
            self.waiting.popitem()[1].set_result("outcome unknown")
        for entry in effects.apply:  # 4
            self.apply(*entry)
        if effects.apply or effects.install is not None:
            yield raft.Applied(self.state["index"])
        for read in effects.reads:
            read.token.set_result(json.dumps(self.state["text"]))
        for token in effects.refused:
            token.set_result("no leader")
        for note in effects.notes:
            print(note, flush=True)
        if self.state["index"] >= self.taken.index + SNAPSHOT_EVERY:
            members = self.core.view.configurations.at(self.state["index"])
            self.load(json.dumps({**self.state, "members": members.format()}))
            yield from (self.save(), raft.SnapshotTaken(self.taken))
            yield raft.Compact(self.core.view.compaction_index)

    def apply(self, index: int, term: int, command: str) -> None:
        self.state |= {"index": index, "term": term}
        edit = EDIT.fullmatch(command)  # None for an entry of the core
        if edit is not None and int(edit[2]) > self.state["edits"].get(edit[1], 0):
            self.state["edits"][edit[1]] = int(edit[2])  # the number of the author's last edit
            text, begin, count = self.state["text"], int(edit[3]), int(edit[4])
            self.state["text"] = text[:begin] + (edit[5] or "") + text[begin + count :]
        if index in self.waiting:
            self.waiting.pop(index).set_result("done")

    def save(self) -> raft.Input:
        view, fresh = self.core.view, self.path.with_suffix(".new")
        entries = view.log.entries(self.taken.index + 1, view.log.last_index)
        memory = [view.recovering, view.newborn, view.may_be_new]
        with fresh.open("w", encoding="utf-8") as file:
            json.dump([self.snapshot, entries, [view.term, view.vote], memory], file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return raft.Synced(view.log.last_index, view.log.last_term)

    def send(self, messages: Sequence[raft.Message]) -> Iterator[raft.Input]:
        for message in messages:
            if isinstance(message, raft.InstallSnapshot):
                if message.snapshot != self.taken:
                    yield raft.SnapshotGone(message.to, message.snapshot)
                    continue
                piece = self.snapshot[message.offset :][: message.length]
                message = dataclasses.replace(message, data=piece)
            peer = self.outgoing.get(message.to)
            if peer is not None and peer.transport.get_write_buffer_size() < 1 << 26:
                peer.write(f"{self.name}@{raft.format_message(message)}\n".encode())

    async def dial(self, name: str, address: str) -> None:
        host, _, port = address.rpartition(":")
        while True:
            with suppress(OSError):
                reader, self.outgoing[name] = await asyncio.open_connection(host, port)
                await reader.read()  # until the connection breaks
            if name in self.outgoing:
                self.outgoing.pop(name).close()
                self.step(raft.PeerDisconnected(name))
            await asyncio.sleep(0.1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError):  # or the line is too long
            while line := await reader.readline():
                writer.write(await self.reply(line.decode(errors="replace").rstrip("\r\n")))
                await writer.drain()
        writer.close()

    async def reply(self, line: str) -> bytes:
        view, reply = self.core.view, asyncio.get_running_loop().create_future()
        if line == "show":
            self.step(raft.Read([reply]) if view.is_leader else raft.AskLeader([reply]))
        elif EDIT.fullmatch(line) and self.core.takes_proposals:
            self.waiting[view.log.last_index + 1] = reply
            self.step(raft.Propose([line]))
        elif EDIT.fullmatch(line):
            reply.set_result(f"not the leader, which is {view.leader}")
        else:  # a message of another server
            try:
                sender, _, text = line.partition("@")
                self.step(raft.Receive(raft.read_message(sender, self.name, text or line)))
                return b""
            except raft.PeerError as error:
                reply.set_result(f"refused: {error}")
        return f"{await reply}\n".encode()


async def main(folder: str, name: str, *pairs: str) -> None:
    addresses = dict(pair.split("=") for pair in pairs)
    server = Server(name, Path(folder, f"{name}.json"), raft.all_vote(addresses))
    host, _, port = addresses[name].rpartition(":")
    await asyncio.start_server(server.serve, host, int(port), limit=1 << 24)
    while True:
        await asyncio.sleep(0.01)
        if now_ms() >= server.core.wake_at_ms:
            server.step(raft.Tick())


try:
    asyncio.run(main(*sys.argv[1:]))
except (KeyError, OSError, TypeError, ValueError) as error:
    raise SystemExit(f"{error}\n\n{__doc__}") from None
