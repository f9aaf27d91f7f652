"""The page for three hosts, followed on Debians with a systemd each."""
