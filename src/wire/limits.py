"""The limits on the memory and work that a stranger, a user or a peer can cause. Pure.

docs/operate/limits.md has a row for each limit, and the behavior beyond it.
"""

from __future__ import annotations

# The whole node: its memory in addition to its keys (--memory), and the measured size of the parts
# without a limit in bytes of their own.
MEMORY_BYTES = 256 << 20
PROGRAM_BYTES = 36 << 20  # before the first connection
ALLOCATOR_BYTES = 48 << 20  # gaps between blocks, and garbage before a collection
GARBAGE_BYTES = 24 << 20  # growth since the last collection that starts the next one
WORK_BYTES = 24 << 20  # current work: a line being read, an entry being applied, a page
CONNECTION_BYTES = 32 << 10  # of each open connection, its thread and its buffers
TLS_BYTES = 42 << 10  # additional bytes with TLS
CONNECTIONS_MAX = 4096  # without --max-connections
OWN_FILES = 64  # files and sockets of the node itself, reserved from connections
WATCH_BYTES = 1 << 10  # of each watch
HISTORY_BYTES = 16 << 20  # of the latest events, without --history-bytes
HISTORY_EVENTS = 100_000  # latest events, without --history-events
OUTBOXES = 2  # slow members whose outboxes are counted at a time

# All connections.
KEY_BYTES = 1 << 10
VALUE_BYTES = 1 << 20
BUFFER_BYTES = 4 << 10  # read buffer of a connection
READ_BYTES = 16 << 10  # one read from a connection with more data than its buffer
LONG_READ_BYTES = 128 << 10  # one read within a longer line; the memory is not kept
LONG_READS = 16  # concurrent long reads
CUT_BYTES = 1 << 10  # of such a read, split into lines at a time, up to the end of a line
LINES_TOGETHER = 64  # parsed lines of one connection kept at a time, except requests
REQUESTS_TOGETHER = 128  # requests of one connection handed over at a time
LINE_S = 30.0  # for an incomplete line, and for a client that reads no replies
TLS_HANDSHAKE_BYTES = 32 << 10  # from the other side: a few certificates
TLS_RECORD_S = 30.0  # for an incomplete record
TLS_ANSWERS_BYTES = 4 << 10  # answers of TLS itself, sent with the next data
HALF_LINES_BYTES = 8 << 20  # at least, for incomplete lines of all clients

# Strangers: connections without a login or a proof of membership.
STRANGER_LINE_BYTES = 2 << 10
STRANGER_S = 10.0  # to log in, if nothing is allowed without a login
STRANGER_LEAST_S = 1.0  # after this its slot goes to others, if all slots are taken
PLACES_GIVEN_UP = 64  # connections being closed, in addition to all slots
HANDSHAKE_S = 10.0  # of TLS, and until it begins if a login is required
PROOF_S = 10.0  # for a whole proof
PROOF_LINE_BYTES = 400  # each of its four lines: two names of at most 64, one MAC or nonce
PASSWORD_CHARACTERS = 256
SCRAM_CHARACTERS = 1024  # in one message
FAILED_LOGIN_S = 0.1  # before the answer
FAILED_LOGINS_S = 10.0  # between two console lines about them
LOGINS_WAITING = 8  # typed passwords waiting for their turn
REFUSED_LOGIN_S = 0.5  # before the answer to a further one

# Users. All nodes must make the same decision.
USERS_MAX = 1024
ROLES_MAX = 1024
USER_ROLES_MAX = 16  # of one user
GRANTS_MAX = 64  # of one role
PLACES_KEPT_PART = 8  # part of the client slots for logins in progress and for admins
KEPT_PART = 16  # part of the bytes, the leases and the watches that is kept for admins
USER_SHARE = 3  # times the room that is left for users: the most that one user may hold

# Keys and leases, which a leader counts before it proposes more.
PAIRS_BYTES = 2 << 30  # of keys, values and leases in memory, without --max-bytes
PAIR_BYTES = 200  # measured for each key, in addition to its text and value
LEASE_BYTES = 350  # measured for each lease
LEASES_MAX = 100_000  # without counting their keys
DISK_LEFT_BYTES = 64 << 20  # left free by a leader; an eighth of a smaller disk

# Applied entries. All nodes must make the same decision.
TRANSACTION_ITEMS = 1024  # conditions, operations after then, and operations after else
TRANSACTION_SCANS = 8  # conditions on a prefix, and clears
REWORK_BYTES = 4 << 20  # of values read and rewritten by a transaction
ANSWER_BYTES = 8 << 20  # of the results of a transaction, as JSON
SEATS_MAX = 1000  # of a semaphore
JOBS_MAX = 256  # that one `dequeue` takes, and that it ends
TAKEN_BYTES = 1 << 20  # of the jobs that a `dequeue` takes after its first, as JSON
SESSIONS_MAX = 4096
SHORT_REPLY_BYTES = 512  # of a reply kept for each of a session's latest requests
LONG_REPLIES_BYTES = 8 << 20  # of the longer replies of all sessions
SHORT_REPLIES_BYTES = 6 << 20  # of the short replies of all sessions
REMEMBERED_REQUESTS = 32_768  # of all sessions
REMEMBERED_BYTES = 192  # of each request, in addition to its reply

# The HTTP port.
HTTP_CONNECTIONS = 256
HTTP_THREADS = 4  # that produce pages
HTTP_HEAD_BYTES = 8 << 10  # of a request
HTTP_S = 5.0  # to receive a request, and to send its answer

# Peers.
PLACES_FOR_PEERS = 32  # in addition to the connections of clients
PEER_LINE_BYTES = 32 << 20  # of a message between nodes: the longest command as JSON
PEER_S = 10.0  # without progress on a peer's connection, before it is reopened
SORRY_BYTES = 1 << 10  # of an answer of a node without proofs, or without free slots
BUILD_BYTES = 64 << 10  # of the answer to the question for a build
TRAFFIC_LINES = 256  # of peers that the console does not repeat
OUTBOX_BYTES = 8 << 20  # queued for one slow peer; further messages are dropped
UNCOMMITTED_LOG_BYTES = 256 << 20  # of entries on disk that no snapshot covers
LOG_GROWTH = 4  # factor on the growth between two snapshots, in addition to these
DISK_PART = 16  # part of the free disk space that a member's snapshot may not fill

# Replies and events on their way to clients.
PIECE_CHARACTERS = 64 << 10  # escaped at a time for one connection; a longer text by itself
AT_ONCE_CHARACTERS = 256 << 10  # of such a longer text; beyond this a separate thread escapes it
QUEUED_BYTES = 16 << 20  # of waiting requests of all connections
LONG_BYTES = 64 << 10  # of a run of requests that must let short ones go first
LONG_TOGETHER = 2  # requests in a run whose entries may take a long time to apply
QUICK_TOGETHER = 16  # such requests, if their commands and the values that they read are short
LONG_TURNS = 32  # requests that LONG_TOGETHER of them count as as well, in fair queueing
QUICK_TURNS = 7  # instead of these, for a run of quick ones
LONG_QUEUED_BYTES = QUEUED_BYTES * 3 // 4  # of waiting long runs of all connections
LONG_UNDER_WAY_BYTES = 2 * (VALUE_BYTES + 2 * KEY_BYTES)  # of long runs, proposed at a time
LONG_WORK_BYTES = 2 << 20  # counted there for a run whose entries take a long time to apply
LONG_REST_S = 0.5  # at most, before the next long run, if short writes of others wait for these
CROWDED_BYTES = 256 << 10  # of waiting long runs; beyond this, their connections are not read
WRITES_TOGETHER = 256  # requests proposed at a time, from all connections in turn
READS_TOGETHER = 256  # reads confirmed at a time, from all connections in turn
WRITES_UNDER_WAY = 256  # writes proposed and not yet applied; further ones wait
BATCHES_HELD = 10_000  # batches of all connections that wait for a leader
BATCHES = 64  # unanswered batches of one connection before reading stops
UNDER_WAY_CHARACTERS = 4 << 20  # of unanswered requests of one connection
PUSHED_BYTES = 256 << 10  # of events for the watches of one connection sent at once
WATCHES_MAX = 100_000  # of all connections
LISTING_BYTES = 1 << 20  # of a listing in memory, for watches that begin together; then a file
LISTINGS_BYTES = 4 << 20  # of all listings in memory
LISTING_FILES = 64  # of the other listings; the least recently read one is deleted
APPLIED_EVENTS = 100_000  # events between two collections; further ones are dropped
APPLIED_CHARACTERS = 64 << 20  # of the values of these events, which the log also has
OBSERVERS_MAX = 100
OBSERVED_STEPS = 5000  # steps waiting for their explanation
OBSERVED_LINES = 20_000  # lines waiting for one observer
OBSERVED_CHARACTERS = 8 << 20  # of the lines waiting for one observer
BACKUPS = 4  # fetched by connections at a time
BACKUP_S = 30.0  # without a read, before a backup gives way to the next
LEASES_LISTED = 1000  # leases in the reply to `leases`, and keys of one lease
LEASE_KEYS_CHARACTERS = 1 << 20  # of the keys of all these leases; one lease may exceed it
REQUEST_WORK_BYTES = 64 << 20  # of values that the commands of one request make
LONG_REPLY_BYTES = 2 << 20  # reserved before a long reply is produced
REPLIES_BYTES = 8 << 20  # of unread replies of all connections
REPLY_HELD_S = 10.0  # for one connection's part of these, while others wait

# Clients. The longest answer has ANSWER_BYTES, each of which may be escaped as four: twice that.
REPLY_LINE_BYTES = 64 << 20
