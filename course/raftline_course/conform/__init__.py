"""The kit that grades a node in any language, over the wire: `raftline conform`."""
