"""The bounds on what a stranger, a user or a peer can make a node hold or do, in one table. Pure.

docs/operate/limits.md has a row for each, and what happens beyond it.
"""

from __future__ import annotations

# The node as a whole: what it takes beside its keys (--memory), and parts of that which have no
# bound in bytes of their own, as they were measured.
MEMORY_BYTES = 256 << 20
PROGRAM_BYTES = 36 << 20  # before anybody connects
ALLOCATOR_BYTES = 48 << 20  # that it keeps between blocks, and of garbage until it is collected
GARBAGE_BYTES = 24 << 20  # more than after the last collection: then the next one
WORK_BYTES = 24 << 20  # for what is at hand: a line that is read, an entry that is applied, a page
CONNECTION_BYTES = 32 << 10  # of each that is open, its thread and its buffers
TLS_BYTES = 42 << 10  # more, with TLS
CONNECTIONS_MAX = 4096  # if --max-connections is not given
OWN_FILES = 64  # and sockets of the node itself, which no connection may use up
WATCH_BYTES = 1 << 10  # of each
HISTORY_BYTES = 16 << 20  # of the latest events, if --history-bytes is not given
HISTORY_EVENTS = 100_000  # of these, if --history-events is not given
OUTBOXES = 2  # slow members at a time, as which their outboxes count

# Everybody.
KEY_BYTES = 1 << 10
VALUE_BYTES = 1 << 20
BUFFER_BYTES = 4 << 10  # that a connection keeps for what it reads
READ_BYTES = 16 << 10  # at a time from one connection, if more than its buffer has come
LONG_READ_BYTES = 128 << 10  # at a time amid a longer line, of what has come; nothing keeps it
LONG_READS = 16  # that are under way at a time
CUT_BYTES = 1 << 10  # of these that are cut into lines at a time, up to the end of a line
LINES_TOGETHER = 64  # of one connection whose meaning is kept at a time, but for requests
REQUESTS_TOGETHER = 128  # of one connection that are handed over at a time
LINE_S = 30.0  # for a line that was begun, and for a reader that takes no replies
TLS_HANDSHAKE_BYTES = 32 << 10  # from the other side; some certificates, and no more
TLS_RECORD_S = 30.0  # for a record that was begun
TLS_ANSWERS_BYTES = 4 << 10  # of TLS itself, which leave with what is sent next
HALF_LINES_BYTES = 8 << 20  # at least, of lines that clients began and did not end, all together

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
LOGINS_WAITING = 8  # typed passwords that wait for their turn
REFUSED_LOGIN_S = 0.5  # before the answer to one more

# Users.
PLACES_KEPT_PART = 8  # of the places of clients, for logins that are under way and for admins
WATCHES_LEFT_PART = 4  # of the watches, which one user leaves to the others

# Keys and leases, as a leader counts them before it proposes more.
PAIRS_BYTES = 2 << 30  # of keys, values and leases in memory, if --max-bytes is not given
PAIR_BYTES = 200  # of each key beside its text and that of its value, as measured
LEASE_BYTES = 350  # of each lease, as measured
LEASES_MAX = 100_000  # without their keys
DISK_LEFT_BYTES = 64 << 20  # that a leader leaves free; an eighth of a smaller disk

# What is applied, from level 3 on. All nodes must decide alike: another figure needs a new level.
TRANSACTION_ITEMS = 128  # conditions; and operations after then, and after else
TRANSACTION_SCANS = 8  # conditions on a prefix, and clears
REWORK_BYTES = 4 << 20  # of the values that a transaction reads and rewrites
ANSWER_BYTES = 8 << 20  # of what the operations of a transaction answer, spelled as JSON
SESSIONS_MAX = 4096
SHORT_REPLY_BYTES = 512  # of a reply that a session keeps for each of its latest requests
LONG_REPLIES_BYTES = 8 << 20  # of the longer ones, all sessions together
SHORT_REPLIES_BYTES = 6 << 20  # of the others, all sessions together
REMEMBERED_REQUESTS = 32_768  # all sessions together
REMEMBERED_BYTES = 192  # of each, beside its reply

# The HTTP door.
HTTP_CONNECTIONS = 256
HTTP_THREADS = 4  # that make pages
HTTP_HEAD_BYTES = 8 << 10  # of a request
HTTP_S = 5.0  # for a request to come, and for its answer to leave

# Peers.
PLACES_FOR_PEERS = 32  # beyond the connections that clients may have
PEER_LINE_BYTES = 32 << 20  # of a message between nodes: the longest command, spelled as JSON
PEER_S = 10.0  # a peer that takes nothing, or ends no line, for so long is connected again
SORRY_BYTES = 1 << 10  # of the answer of a node that knows no proofs, or is full
BUILD_BYTES = 64 << 10  # of the answer to a question for a build
TRAFFIC_LINES = 256  # of peers that the console does not print again
OUTBOX_BYTES = 8 << 20  # what one slow peer may hold up; beyond it messages are dropped
UNCOMMITTED_LOG_BYTES = 256 << 20  # of entries on the disk that no snapshot makes shorter
LOG_GROWTH = 4  # times what comes between two snapshots, beside these
DISK_PART = 16  # of what a disk has left, a part that no snapshot of a member may fill

# Replies and events on their way to clients.
PIECE_CHARACTERS = 64 << 10  # spelled at a time for one connection; a longer one by itself
AT_ONCE_CHARACTERS = 256 << 10  # of such a longer one; beyond it a thread of its own makes it
QUEUED_BYTES = 16 << 20  # of requests that wait, all connections together
LONG_BYTES = 64 << 10  # of a run of requests that leaves room, and lets short ones go first
LONG_TOGETHER = 2  # requests in a run whose entries may take long to apply
LONG_TURNS = 32  # requests as which such a run counts beside its own, where runs take turns
LONG_QUEUED_BYTES = QUEUED_BYTES * 3 // 4  # of these that wait, all connections together
LONG_UNDER_WAY_BYTES = 2 * (VALUE_BYTES + 2 * KEY_BYTES)  # of these, proposed at a time
LONG_WORK_BYTES = 2 << 20  # as which a run counts there whose entries take long to apply
CROWDED_BYTES = 256 << 10  # of these; beyond it a connection that has some here is not read on
WRITES_TOGETHER = 256  # requests that are proposed at a time, of all connections in turn
READS_TOGETHER = 256  # that are confirmed at a time, of all connections in turn
WRITES_UNDER_WAY = 256  # that are proposed and not applied; then the next ones wait
BATCHES_HELD = 10_000  # that wait for a leader, all connections together
BATCHES = 64  # unanswered ones of one connection; then it is not read further
UNDER_WAY_CHARACTERS = 4 << 20  # of the requests of one connection that are not answered yet
PUSHED_BYTES = 256 << 10  # that watches of one connection get at once; else by pieces
WATCHES_MAX = 100_000  # of all connections
LISTING_BYTES = 1 << 20  # in memory of the keys with which watches of one look begin; else a file
LISTINGS_BYTES = 4 << 20  # in memory of all these
LISTING_FILES = 64  # of the others; the one goes that was not read for longest
APPLIED_EVENTS = 100_000  # between two takes; beyond it they are dropped
APPLIED_CHARACTERS = 64 << 20  # of the values of these, which the log has as well
OBSERVERS_MAX = 100
OBSERVED_STEPS = 5000  # that wait to be explained
OBSERVED_LINES = 20_000  # that wait for one observer
OBSERVED_CHARACTERS = 8 << 20  # of the lines that wait for one observer
BACKUPS = 4  # that connections fetch at a time
BACKUP_S = 30.0  # without a read, after which one gives way to the next
LEASES_LISTED = 1000  # by `leases`, and keys of one
LEASE_KEYS_CHARACTERS = 1 << 20  # of the keys of all of these; one lease may go beyond it
LONG_REPLY_BYTES = 2 << 20  # the room that is reserved before one is made
REPLIES_BYTES = 8 << 20  # made for all connections, and not taken by their readers
REPLY_HELD_S = 10.0  # for one connection's part of these, while others wait for room

# Clients. The longest answer has ANSWER_BYTES, of which each may be spelled in four: twice that.
REPLY_LINE_BYTES = 64 << 20
