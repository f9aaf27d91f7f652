from __future__ import annotations

import pytest

from raftline.monitoring.exposition import Exposition
from raftline.node.loop.measures import BOUNDS_S, Histogram


def test_figures_stand_under_their_help_and_kind() -> None:
    out = Exposition()
    out.gauge("term", "The term", 7)
    out.counter("elections_total", "Elections", 2)
    out.family("gauge", "process_open_fds", "Files", [({}, 3.0)])
    assert out.text() == (
        "# HELP raftline_term The term\n# TYPE raftline_term gauge\nraftline_term 7\n"
        "# HELP raftline_elections_total Elections\n# TYPE raftline_elections_total counter\n"
        "raftline_elections_total 2\n"
        "# HELP process_open_fds Files\n# TYPE process_open_fds gauge\nprocess_open_fds 3.0\n"
    )


def test_a_label_can_not_break_its_line() -> None:
    out = Exposition()
    out.family("gauge", "lag", "Lag\nof \\", [({"peer": 'a"b\\c\nd'}, 1)])
    assert out.text().splitlines() == [
        "# HELP raftline_lag Lag\\nof \\\\",
        "# TYPE raftline_lag gauge",
        'raftline_lag{peer="a\\"b\\\\c\\nd"} 1',
    ]


def test_a_family_without_samples_is_left_out() -> None:
    out = Exposition()
    out.family("gauge", "lag", "Lag", [])
    assert out.text() == "\n"


def test_the_buckets_of_a_histogram_add_up() -> None:
    times = Histogram()
    times.add(0.0001)  # a bound belongs to its bucket
    times.add(0.003, 5)
    times.add(99)
    out = Exposition()
    out.histogram("t", "Time", [({"kind": "w"}, BOUNDS_S, times.counts, times.sum_s)])
    lines = out.text().splitlines()
    assert lines[:2] == ["# HELP raftline_t Time", "# TYPE raftline_t histogram"]
    assert 'raftline_t_bucket{kind="w",le="0.0001"} 1' in lines
    assert 'raftline_t_bucket{kind="w",le="0.0025"} 1' in lines
    assert 'raftline_t_bucket{kind="w",le="0.005"} 6' in lines
    assert 'raftline_t_bucket{kind="w",le="10.0"} 6' in lines
    assert 'raftline_t_bucket{kind="w",le="+Inf"} 7' in lines
    assert lines[-1] == 'raftline_t_count{kind="w"} 7'
    name, _, total = lines[-2].rpartition(" ")
    assert name == 'raftline_t_sum{kind="w"}'
    assert float(total) == pytest.approx(99.0151)
