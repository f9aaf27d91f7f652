"""The bounds for Redis clients, as wire/limits.py has those for everybody. Pure."""

REDIS_ARGUMENTS = 4096  # of a command
REDIS_STRANGER_ARGUMENTS = 10  # before a login
REDIS_NAME_BYTES = 256  # of the name of a connection, and of what a client tells about itself
REDIS_PATTERN_BYTES = 1 << 10  # of a pattern for keys
REDIS_PATTERNS = 128  # of `CONFIG GET`
REDIS_QUEUED = 1024  # commands after MULTI
REDIS_PATTERNS_COUNTED = 64  # at a node, beyond which `PUBLISH` counts no receivers by patterns
REDIS_CURSORS = 10_000  # of scans that have not ended
REDIS_CURSORS_BYTES = 2 << 20  # of the keys that these have reached
