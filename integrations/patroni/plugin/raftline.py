"""Patroni's store `raftline`. It lies in patroni/dcs, the only folder in which Patroni looks."""

from raftline_patroni.dcs import Raftline

__all__ = ["Raftline"]
