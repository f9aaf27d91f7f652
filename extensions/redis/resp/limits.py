"""The bounds for Redis clients, as wire/limits.py has those for everybody. Pure."""

# Bytes and work bound what a client sends. With REDIS_ARGUMENTS and REDIS_QUEUED, the shortest
# words take as much memory as the longest command. All nodes must make the same decision about an
# entry.
REDIS_ARGUMENTS = 1 << 16  # of a command, and keys of an entry
REDIS_STRANGER_ARGUMENTS = 10  # before a login
REDIS_NAME_BYTES = 256  # of the name of a connection, and of what a client tells about itself
REDIS_PATTERN_BYTES = 1 << 10  # of a pattern for keys
REDIS_PATTERNS = 128  # of `CONFIG GET`
REDIS_SCRIPT_BYTES = 128 << 10  # of a script
REDIS_SCRIPTS = 1000  # that EVALSHA knows
REDIS_SCRIPTS_BYTES = 2 << 20  # of their texts
REDIS_QUEUED = 1 << 13  # commands after MULTI, and of an entry
REDIS_PATTERNS_COUNTED = 64  # at a node, beyond which `PUBLISH` counts no receivers by patterns
REDIS_MATCHED_BYTES = 1 << 13  # of channels of one request that are compared with patterns to count
REDIS_CURSORS = 10_000  # of scans that have not ended
REDIS_CURSORS_BYTES = 2 << 20  # of the keys that these have reached
