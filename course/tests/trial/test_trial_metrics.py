"""The metrics dictionary: every key of the seed's, from JSON and TOML, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from raftline.common.process.server_process import SERVER
from raftline_course.trial import metrics_dictionary
from raftline_course.trial.metrics_dictionary import Action, Metrics, MetricsError

LAB = Path(__file__).resolve().parents[3] / "course" / "labs" / "availability"
TWO_KILLS = (Action("fail leader", 8), Action("fail leader", 16))


def problems(raw: object) -> list[str]:
    with pytest.raises(MetricsError) as caught:
        metrics_dictionary.understand(raw, "m.json", Path())
    return caught.value.lines


def asks(**more: Any) -> Metrics:
    return metrics_dictionary.understand(more, "m.json", Path())


def test_the_two_course_runs_are_shipped_with_all_keys() -> None:
    assert metrics_dictionary.read(LAB / "metrics_1.json") == Metrics()
    assert metrics_dictionary.read(LAB / "metrics_2.json") == Metrics(
        gp_ratio=0.2, actions=TWO_KILLS
    )
    for name in ("metrics_1", "metrics_2"):
        assert set(json.loads((LAB / f"{name}.json").read_text())) == {
            "server code",
            "maximum get create fail fraction",
            "appends batched fraction",
            "maximum get reqs fraction",
            "maximum put reqs fraction",
            "number of clients",
            "total execution time",
            "servers",
            "client requests",
            "gp ratio",
            "only hb",
            "stop requests",
            "max packets",
            "actions",
        }


def test_a_missing_key_has_the_value_of_the_first_course_run() -> None:
    found = asks()
    assert (found.servers, found.number_of_clients, found.client_requests) == (5, 8, 500)
    assert (found.total_execution_time, found.only_hb, found.stop_requests) == (30, 5, 2)
    assert (found.gp_ratio, found.max_packets, found.actions) == (0.8, 20_000, ())
    assert (found.maximum_get_create_fail_fraction, found.appends_batched_fraction) == (0.1, 0.5)
    assert (found.maximum_get_reqs_fraction, found.maximum_put_reqs_fraction) == (0.5, 0.5)
    assert (found.server_code, found.leader_tenure) == (SERVER, 0)


def test_spaces_and_underscores_mean_the_same() -> None:
    found = asks(
        gp_ratio=0.2,
        actions=[
            {"category": "fail_leader", "trigger_point": 8},
            {"category": "fail leader", "trigger point": 16},
            {"category": "fail_follower", "trigger point": 9},
        ],
    )
    assert found.gp_ratio == 0.2
    assert found.actions == (TWO_KILLS[0], Action("fail follower", 9), TWO_KILLS[1])


def test_each_further_action_requires_its_operands() -> None:
    found = asks(
        actions=[
            {"category": "part easy", "trigger point": 1},
            {"category": "part end", "trigger point": 2},
            {"category": "part hard", "trigger point": 3, "seconds": 1.5},
            {"category": "drop", "trigger point": 4, "fraction": 0.25},
            {"category": "pause", "trigger point": 5},
            {"category": "pause", "trigger point": 6, "server": "0003", "seconds": 1},
            {"category": "fail follower", "trigger point": 7},
            {"category": "restart", "trigger point": 8},
        ]
    )
    assert found.actions == (
        Action("part easy", 1),
        Action("part end", 2),
        Action("part hard", 3, seconds=1.5),
        Action("drop", 4, fraction=0.25),
        Action("pause", 5, seconds=2.0, server="leader"),
        Action("pause", 6, seconds=1, server="0003"),
        Action("fail follower", 7),
        Action("restart", 8),
    )


def test_a_custom_server_is_found_next_to_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    found = metrics_dictionary.understand({"server code": "mine.py"}, "m.json", tmp_path)
    assert found.server_code == tmp_path / "mine.py"


FAIL = {"category": "fail leader", "trigger point": 8}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "m.json: holds [], not a dictionary of metrics"),
        ({"serverz": 5}, "'serverz' is not a key of the metrics; did you mean 'servers'?"),
        ({"zzz": 5}, "'zzz' is not a key of the metrics; known are server code, actions"),
        ({"gp ratio": 0.1, "gp_ratio": 0.2}, "'gp ratio' is there twice"),
        ({"servers": "5"}, "servers is '5', not a whole number from 2 to 15"),
        ({"servers": True}, "servers is true, not a whole number"),
        ({"servers": 2.5}, "servers is 2.5, not a whole number"),
        ({"servers": 0}, "servers is 0; it must be a whole number from 2 to 15"),
        ({"gp ratio": 1.2}, "gp ratio is 1.2; it must be a number from 0 to 1"),
        ({"gp ratio": float("nan")}, "gp ratio is nan"),
        ({"gp ratio": None}, "gp ratio is null, not a number"),
        ({"client requests": -1}, "it must be a whole number from 0 to 1,000,000"),
        ({"seed": 1 << 20_000}, "seed is something too long to show; it must be"),
        ({"server code": "gone.py"}, "server code is 'gone.py'; it must be 'raft.py'"),
        ({"only hb": 29}, "leave nothing of total execution time (30 s) for requests"),
        ({"actions": {}}, "actions is {}, not a list"),
        ({"actions": [8]}, "action 1: 8 is not a dictionary with category and trigger point"),
        ({"actions": [{"category": "burn"}]}, "action 1: its category is 'burn'; known are fail"),
        (
            {"actions": [{"category": "fial_leader"}]},
            "action 1: its category is 'fial_leader'; did you mean 'fail leader'?",
        ),
        ({"actions": [{"category": 8}]}, "action 1: its category is 8; known are fail leader"),
        (
            {"actions": [{"catgory": "restart", "trigger point": 1}]},
            "action 1: it has no category; is 'catgory' meant to be it?",
        ),
        ({"actions": [{}]}, "action 1: it has no category, one of fail leader, fail follower"),
        ({"actions": [{"category": "fail leader"}]}, "fail leader has no trigger point"),
        ({"actions": [{**FAIL, "trigger point": 30}]}, "not before the end of the trial (30 s)"),
        ({"actions": [{**FAIL, "trigger point": "8"}]}, "trigger point is '8', not a number"),
        ({"actions": [{**FAIL, "seconds": 1}]}, "action 1: 'seconds' is not a key of the metrics"),
        ({"actions": [{**FAIL, "category": "restart"}]}, "no server is failed by then"),
        ({"actions": [{**FAIL, "category": "part end"}]}, "there is no partition before it"),
        ({"servers": 2, "actions": [{**FAIL, "category": "part easy"}]}, "needs 3 servers or more"),
        (
            {"actions": [{**FAIL, "category": "pause", "server": "0005"}]},
            "pause at 8: there is no server 0005: ids are 0000 to 0004",
        ),
        (
            {"actions": [{**FAIL, "category": "pause", "server": "s1"}]},
            "server is 's1'; it must be 'leader', 'follower' or an id such as '0000'",
        ),
    ],
)
def test_each_mistake_in_the_metrics_is_one_line(raw: object, said: str) -> None:
    [line] = problems(raw)
    assert line.startswith("m.json: ")
    assert said in line


def test_all_mistakes_are_reported_together() -> None:
    assert len(problems({"servers": 0, "gp ratio": 2, "serverz": 1, "actions": 1})) == 4


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.json", "{", "m.json:1: is not JSON: Expecting property name"),
        ("m.json", " \n", "m.json: is empty; {} would mean metrics_1"),
        ("m.json", '{"seed": ' + "9" * 5000 + "}", "m.json: holds a number of thousands of digits"),
        ("m.json", "{}\n{}", "m.json:2: is not JSON: Extra data"),
        ("m.json", '{"servers": 3, "servers": 5}', "m.json: 'servers' is there twice"),
        ("m.json", '{"servers": 3, "a": ' + "[" * 100_000, "m.json"),
        ("m.json", "\udcff", "m.json: is not UTF-8 text (byte 1)"),
        ("m.json", " " * (1 << 20) + "{}", "m.json: is larger than 1,048,576 bytes"),
    ],
)
def test_a_file_that_is_not_a_dictionary_is_reported(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(MetricsError) as caught:
        metrics_dictionary.read(path)
    [line] = caught.value.lines
    assert said in line


REPORTED = """metrics_1={ 'server code': 'raft.py', 'maximum get create fail fraction': 0.1,
    'number of clients': 8, 'servers': 5,
    'actions': ({'category': 'fail leader', 'trigger point': 8},) }
"""


@pytest.mark.parametrize("before", ["metrics_1={", "metrics_1 = {", "# of the report\n{", "{"])
def test_metrics_of_a_report_are_read_as_they_stand(tmp_path: Path, before: str) -> None:
    """A report of the course's simulator has them in Python's form, with their name."""
    path = tmp_path / "metrics_1.json"
    path.write_text(REPORTED.replace("metrics_1={", before), encoding="utf-8")
    found = metrics_dictionary.read(path)
    assert (found.servers, found.number_of_clients) == (5, 8)
    assert [(each.category, each.trigger_point) for each in found.actions] == [("fail leader", 8)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics_1={'servers': 3, 'servers': 5}", "m.json: 'servers' is there twice"),
        ("metrics_1={'servers': open('x')}", "m.json:1: is not JSON: Expecting value (column 1)"),
        ("metrics_1={'servers': 3}\nmetrics_2={}", "m.json:1: is not JSON: Expecting value"),
        ("metrics_1={'servers': b'3'}", "m.json:1: is not JSON"),
        ("metrics_1={**{}}", "m.json:1: is not JSON"),
        ("metrics_1={[]: 1}", "m.json:1: is not JSON"),
        ("metrics_1={'a': " + "[" * 100_000, "m.json:1: is not JSON"),
        ("metrics_1={'a': " + "-" * 100_000 + "1}", "m.json:1: is not JSON"),
        ("metrics_1={'seed': " + "9" * 5000 + "}", "m.json:1: is not JSON"),
        ("metrics_1={'a': '\0'}", "m.json:1: is not JSON"),
    ],
)
def test_metrics_in_the_form_of_python_are_a_literal(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MetricsError) as caught:
        metrics_dictionary.read(path)
    [line] = caught.value.lines
    assert said in line


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match=r"none\.json: can't be read: No such file"):
        metrics_dictionary.read(tmp_path / "none.json")


def test_toml_is_read_if_python_can_else_the_remedy_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.toml"
    path.write_text(
        '"gp ratio" = 0.2\n[[actions]]\ncategory = "fail leader"\n"trigger point" = 8\n'
    )
    if any(importlib.util.find_spec(name) for name in ("tomllib", "tomli")):
        assert metrics_dictionary.read(path) == Metrics(gp_ratio=0.2, actions=TWO_KILLS[:1])
        for text, said in (
            ("gp ratio", r"m\.toml: is not TOML: "),
            ("seed = " + "9" * 5000, r"m\.toml: holds a number of thousands of digits"),
            ("seed = 0x" + "f" * 5000, r"m\.toml: seed is something too long to show"),
        ):
            path.write_text(text)
            with pytest.raises(MetricsError, match=said):
                metrics_dictionary.read(path)

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("raftline_course.trial.files.importlib.import_module", missing)
    with pytest.raises(MetricsError, match=r"can't read TOML\. Take Python 3\.11"):
        metrics_dictionary.read(path)
