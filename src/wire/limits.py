"""The bounds on what a stranger, a user or a peer can make a node hold or do, in one table. Pure.

docs/operate/limits.md has a row for each, and what happens beyond it.
"""

from __future__ import annotations

# Everybody.
KEY_BYTES = 1 << 10
VALUE_BYTES = 1 << 20
READ_BYTES = 16 << 10  # at a time from one connection, which keeps a buffer of that size
LINE_S = 30.0  # for a line that was begun, and for a reader that takes no replies
TLS_RECORD_S = 30.0  # for a record that was begun
HALF_LINES_BYTES = 64 << 20  # of lines that clients began and did not end, all of them together

# Strangers: who has neither logged in nor proved to be a member.
STRANGER_LINE_BYTES = 2 << 10
STRANGER_S = 10.0  # to log in, where nothing may be done without
STRANGER_LEAST_S = 1.0  # after which its place goes to others, if all are taken
PLACES_GIVEN_UP = 64  # connections that are being ended, beyond all places
HANDSHAKE_S = 10.0  # of TLS, and for it to begin where somebody has to log in
PROOF_S = 10.0  # for all of a proof, once it began
PROOF_LINE_BYTES = 400  # of each of its four lines: two names of 64 at most, one MAC or nonce
PASSWORD_CHARACTERS = 256
SCRAM_CHARACTERS = 1024  # of one message
FAILED_LOGIN_S = 0.1  # before the answer
FAILED_LOGINS_S = 10.0  # between two lines of the console about them
LOGINS_WAITING = 16  # typed passwords that wait for their turn

# What is applied, from level 3 on. All nodes must decide alike: another figure needs a new level.
REWORK_BYTES = 4 << 20  # of the values that a transaction reads and rewrites
ANSWER_BYTES = 8 << 20  # of what the operations of a transaction answer, spelled as JSON
SHORT_REPLY_BYTES = 512  # of a reply that a session keeps for each of its latest requests
LONG_REPLIES_BYTES = 16 << 20  # of the longer ones, all sessions together
SHORT_REPLIES_BYTES = 32 << 20  # of the others, all sessions together

# The HTTP door.
HTTP_CONNECTIONS = 256
HTTP_THREADS = 4  # that make pages
HTTP_HEAD_BYTES = 8 << 10  # of a request
HTTP_S = 5.0  # for a request to come, and for its answer to leave

# Peers.
PLACES_FOR_PEERS = 32  # beyond the connections that clients may have
PEER_LINE_BYTES = 64 << 20  # of a message between nodes, which may hold many entries
PEER_S = 10.0  # a peer that takes nothing, or ends no line, for so long is connected again
SORRY_BYTES = 1 << 10  # of the answer of a node that knows no proofs, or is full
OUTBOX_BYTES = 64 << 20  # what one slow peer may hold up; beyond it messages are dropped

# Replies and events on their way to clients.
PIECE_CHARACTERS = 64 << 10  # spelled at a time for one connection; a longer one by itself
QUEUED_BYTES = 64 << 20  # of requests that wait, all connections together
BATCHES_HELD = 10_000  # that wait for a leader, all connections together
BATCHES = 64  # unanswered ones of one connection; then it is not read further
UNDER_WAY_CHARACTERS = 4 << 20  # of the requests of one connection that are not answered yet
PUSHED_BYTES = 256 << 10  # that watches of one connection get at once; else by pieces
WATCHES_MAX = 100_000  # of all connections
OBSERVED_CHARACTERS = 8 << 20  # of the lines that wait for one observer
LONG_REPLY_BYTES = 2 << 20  # the room that is reserved before one is made
REPLIES_BYTES = 64 << 20  # made for all connections, and not taken by their readers
REPLY_HELD_S = 10.0  # for one connection's part of these, while others wait for room

# Clients. The longest answer has ANSWER_BYTES, of which each may be spelled in four: twice that.
REPLY_LINE_BYTES = 64 << 20
