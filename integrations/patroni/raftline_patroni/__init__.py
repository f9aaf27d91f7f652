"""Patroni on raftline: `dcs.Raftline` is Patroni's store."""
