"""The files of nodes: checked, repaired, backed up, replayed; users and certificates."""
