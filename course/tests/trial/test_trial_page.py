"""The page: whole, safe to open anywhere, readable by day and by night."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from html.parser import HTMLParser

import pytest
from course.tests.trial.trials import asked, pair, record

from raftline_course.trial import pictures, report
from raftline_course.trial.causes import explained
from raftline_course.trial.pictures import Logarithmic, Seconds, tag
from raftline_course.trial.record import Record, TrialEvent
from raftline_course.trial.servers import Health
from raftline_course.trial.store_client import ServerAttempt
from raftline_course.trial.verdict import judge


def eventful() -> Record:
    return record(
        [*pair(1), *pair(3, took=2.5), asked(9, took=None)],
        ended=12.0,
        leaders=[(0.0, "unkown"), (1.0, "0001"), (6.0, "unkown"), (7.0, "0002")],
        events=[
            TrialEvent(3.0, "drop", (), "20% of all lines between servers are lost"),
            TrialEvent(4.0, "part hard", ("0001",), "0001 were cut off from 0000 0002; 0001 led"),
            TrialEvent(5.0, "part end", (), "all servers reach each other again"),
            TrialEvent(6.0, "fail leader", ("0001",), "0001 was <killed>"),
        ],
        health=[(6.0, "0001", Health.FAILED), (8.0, "0001", Health.UP)],
        stalls=[(10.0, 11.0)],
        terms=[(1.0, "0001", 1), (2.0, "0001", 4), (7.0, "0002", 5)],
        lines=[[], ["0000: [*] I am <Follower>"], [], ["0002: [*] I am Leader"]],
        takeovers=[(2.0, "0001", "0001", 0.4)],
    )


class Balance(HTMLParser):
    """Fails where a tag is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: object) -> None:
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_complete_html_and_loads_no_file() -> None:
    made = eventful()
    text = report.page(made, judge(made))
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    outside = r"<script|<link|<img|src=|href=\"(?!#)|@import|url\(|https?:"
    assert not re.search(outside, text)
    assert "color-scheme: light dark" in text
    assert "prefers-color-scheme: dark" in text
    assert "0001 was &lt;killed&gt;" in text
    assert "<killed>" not in text


def test_every_class_has_its_rule_and_every_colour_its_dark_one() -> None:
    """Every class of a shape has its rule and every colour its value by night."""
    made = eventful()
    text = report.page(made, judge(made))
    style = text[text.index("<style>") : text.index("</style>")]
    used = {name for names in re.findall('class="([^"]+)"', text) for name in names.split()}
    assert {name for name in used if f".{name}" not in style} == set()
    day, _, night = style.partition("@media")
    assert set(re.findall(r"--\w+(?=:)", day)) == set(re.findall(r"--\w+(?=:)", night))
    assert set(re.findall(r"var\((--\w+)\)", style)) <= set(re.findall(r"--\w+(?=:)", day))


def spans(name: str, made: Record) -> list[str]:
    """Return what the bars of the timeline with this class tell."""
    root = xml.etree.ElementTree.fromstring(pictures.timeline(made))
    return [bar.findtext("title", "") for bar in root.iter("rect") if bar.get("class") == name]


def test_the_timeline_shows_leaders_faults_and_standstills() -> None:
    made = eventful()
    assert spans("colour1", made) == [
        "0001 term 1: 1.00 s to 2.00 s",
        "0001 term 4: 2.00 s to 6.00 s",
    ]
    assert spans("colour2", made) == ["0002 term 5: 7.00 s to 12.00 s"]
    assert spans("none", made) == ["unknown: 0.00 s to 1.00 s", "unknown: 6.00 s to 7.00 s"]
    assert spans("failed", made) == [
        "failed: 6.00 s to 8.00 s",
        "no answers: 4.00 s to 6.50 s",
        "no answers: 9.00 s to 12.00 s",
    ]
    assert spans("part", made) == ["part hard: 4.00 s to 5.00 s"]
    assert spans("drop", made) == ["20% lost: 3.00 s to 12.00 s"]
    assert spans("paused", made) == ["stood still: 10.00 s to 11.00 s"]


def test_each_request_is_a_dot_or_a_cross_if_unanswered() -> None:
    root = xml.etree.ElementTree.fromstring(pictures.latencies(eventful()))
    dots = [each.get("class") for each in root.iter("circle")]
    words = [each.text for each in root.iter("text")]
    assert dots == ["put", "get", "put", "get", "get", "put"]  # the last two are the legend
    assert words.count("×") == 2
    lost, legend = [float(each.get("y", "")) for each in root.iter("text") if each.text == "×"]
    assert lost < min(float(each.get("cy", "")) for each in root.iter("circle"))
    assert legend > 260  # below the plot
    assert {"p50", "p95", "p99", "1 s", "10 ms", "time since the start"} <= set(words)


def tips(made: Record) -> list[str]:
    """Return what the dots and crosses of the requests tell under the mouse."""
    root = xml.etree.ElementTree.fromstring(pictures.latencies(made))
    shapes = [*root.iter("circle"), *root.iter("text")]
    return [title for each in shapes if (title := each.findtext("title"))]


def test_among_many_requests_only_slow_and_lost_have_labels() -> None:
    """Each request has a label; of very many requests, only slow and lost ones have."""
    attempts = [ServerAttempt("0000", "no answer", 1.0), ServerAttempt("0001", "success", 0.002)]
    few = [asked(1, took=0.0613), asked(2, "get", attempts=attempts), asked(3, took=None)]
    assert tips(record(few)) == [
        "put key1 by 0003, due at 1.00 s: 61.3 ms",
        "get key2 by 0003, due at 2.00 s: 10.0 ms, 2 attempts",
        "put key3 by 0003, due at 3.00 s: unanswered",
    ]
    many = [asked(7, took=2.0), asked(8, took=None), *(asked(9, took=0.001) for _ in range(2000))]
    assert tips(record(many)) == [
        "put key7 by 0003, due at 7.00 s: 2,000.0 ms",
        "put key8 by 0003, due at 8.00 s: unanswered",
    ]


@pytest.mark.parametrize("ended", [0.0, 0.3, 30.0, 3600.0])
def test_a_trial_without_answers_has_its_pictures_too(ended: float) -> None:
    made = record([asked(0, took=None)], ended=ended)
    text = report.page(made, judge(made))
    assert text.count("<svg") == 2
    assert "no request was answered" in text
    assert "3 servers, 8 clients, 1 request in" in text


def test_scales_keep_within_their_room() -> None:
    assert Seconds(30).x(-1) == Seconds(30).x(0) < Seconds(30).x(30) == Seconds(30).x(99)
    scale = Logarithmic.over([0.002, 0.3, 0.0], 10.0, 110.0)
    assert (scale.low, scale.high) == (-3, 0)
    assert [scale.y(value) for value in (1.0, 0.001, 0.0)] == pytest.approx([10, 110, 110])


def test_an_attribute_can_not_break_out_of_its_quotes() -> None:
    assert tag("rect", x=1.0, class_='"><b>') == '<rect x="1.0" class="&quot;&gt;&lt;b&gt;"/>'


def words(svg: str) -> list[str]:
    return [each.text or "" for each in xml.etree.ElementTree.fromstring(svg).iter("text")]


def test_leaders_bar_names_terms_by_number_where_narrow() -> None:
    """The leader's bar names the terms, or only the number where it is narrow."""
    shown = words(pictures.timeline(eventful()))
    assert {"0001 term 4", "0002 term 5"} <= set(shown)
    narrow = eventful()
    narrow.terms[1] = (5.7, "0001", 4)
    assert {"0001 term 1", "4"} <= set(words(pictures.timeline(narrow)))


def test_a_row_in_which_nothing_happened_is_left_out() -> None:
    quiet = record([*pair(1)], ended=12.0)
    shown = words(pictures.timeline(quiet))
    assert {"leader", "0000", "requests"} <= set(shown)
    assert not {"network", "losses", "no answers", "simulator"} & set(shown)
    eventful_rows = set(words(pictures.timeline(eventful())))
    assert {"network", "losses", "no answers", "simulator"} <= eventful_rows


def test_mark_links_to_its_event_and_event_to_its_lines() -> None:
    """Each mark leads to its event and each event to its lines."""
    made = eventful()
    text = report.page(made, judge(made))
    for number in range(1, 5):
        assert f'href="#event-{number}"' in text[: text.index("<ol>")]
        assert f'<li id="event-{number}">' in text
    targets, links = re.findall(r' id="([^"]+)"', text), re.findall(r'href="#([^"]+)"', text)
    assert set(links) <= set(targets)
    assert {"lines-1", "lines-4"} <= set(links)
    assert "0000: [*] I am &lt;Follower&gt;" in text
    assert "no server printed anything" in text


def test_other_facts_are_tied_to_an_event_or_explained() -> None:
    made = eventful()
    assert [text for _, _, text in explained(made)] == [
        "no leader: the first election",
        "0001 was elected anew: no event was near, so this machine or the network took long",
        "no answers: after event 2",
        "no leader: after event 4",
        "no answers: this machine kept the simulator itself from working",
    ]
    page = report.page(made, judge(made))
    assert '6.50 s</span> no answers: after <a href="#event-2">event 2</a></li>' in page


def test_the_names_of_percentiles_stand_where_a_phone_shows_them() -> None:
    root = xml.etree.ElementTree.fromstring(pictures.latencies(eventful()))
    names = [each for each in root.iter("text") if (each.text or "").startswith("p")]
    labels = [each for each in names if each.get("class") == "halo strong"]
    assert [each.text for each in labels] == ["p50", "p95", "p99"]
    assert all(float(each.get("x", "")) < 150 for each in labels)
    heights = [float(each.get("y", "")) for each in labels]
    assert heights == sorted(heights, reverse=True)
