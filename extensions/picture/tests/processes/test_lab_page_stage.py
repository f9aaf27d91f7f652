"""The stage of the lab page: what a reader sees, what moves, and how a reader acts on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from raftline.picture.harness.lab.stories import STORIES
from raftline.picture.tests.processes.lab_page import LabPage, answers_a_story_by_keys
from raftline_testing.nodes.processes import eventually

selenium: Any = pytest.importorskip("selenium.webdriver")
Keys: Any = pytest.importorskip("selenium.webdriver.common.keys").Keys
LED = "before%20timeouts%20s1%20150%20s2%20400%20s3%20500;before%20network%2010%2010;at%2060"
WHOLE = """const inner = (one) => { const box = one.getBoundingClientRect();
        return box.width > 0 && box.top >= 0 && box.left >= 0
            && box.bottom <= innerHeight + 1 && box.right <= innerWidth + 1; };
    return [...document.querySelectorAll(arguments[0])].map(inner);"""

WIDE = "return document.documentElement.scrollWidth <= innerWidth"

BELOW = """const box = (css) => document.querySelector(css).getBoundingClientRect();
    return box("#card").top >= box("#stage").bottom;"""

PLAYED = """const [count, done] = arguments, seen = [];
    const look = () => {
        const { ms, isPlaying } = window.lab.now();
        if (seen.at(-1) !== ms) seen.push(ms);
        if (seen.length < count && isPlaying) requestAnimationFrame(look); else done(seen);
    };
    document.getElementById("play").click();
    look();"""
REST_MS = """const [words, done] = arguments;
    import("/docs/learn/lab/pace.js").then(({ Pace }) => {
        const pace = new Pace(null), now = performance.now();
        pace.read(words);
        done(pace.restUntil - now);
    });"""
SPEED = """document.getElementById("speed").value = arguments[0];
    document.getElementById("speed").dispatchEvent(new Event("change"));"""


@pytest.fixture
def sized(page: LabPage) -> Iterator[LabPage]:
    """Return the page in a window of 1280 times 720, a small laptop's; nothing glides."""
    resize(page, 1280, 720)
    moves(page, "reduce")
    yield page
    moves(page, "")
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.script("document.getElementById('drawer').hidden = true")


def resize(page: LabPage, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def moves(page: LabPage, motion: str) -> None:
    wanted = [{"name": "prefers-reduced-motion", "value": motion}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})


def is_whole(page: LabPage, css: str) -> bool:
    """Whether all these things can be seen without scrolling."""
    found: list[bool] = page.script(WHOLE, css)
    return bool(found) and all(found)


def time_ms(page: LabPage) -> int:
    return int(page.script("return window.lab.now().ms"))


@pytest.mark.parametrize("story", ["crash", "figure-7", "figure-8", "members"])
def test_reason_and_logs_are_whole_after_each_press(sized: LabPage, story: str) -> None:
    sized.open(f"story={story}")
    for _ in range(12):
        sized.press("#notable")
        assert is_whole(sized, "#panel .said, #panel .why li, #panel .wire")
        assert is_whole(sized, "#stage .node, #logs tr, #transport button, #when, #tale")
    assert not sized.script("return document.getElementById('drawer').checkVisibility()")


def test_step_shows_decisions_and_not_the_bookkeeping(sized: LabPage) -> None:
    sized.open("story=crash")
    said = []
    for _ in range(20):
        sized.press("#notable")
        said.append(sized.text("#panel"))
    assert sum("so I lead" in one for one in said) == 1
    assert sum("a majority, so it is committed" in one for one in said) == 2
    assert not [one for one in said if "are on my disk" in one or "has applied" in one]


def test_messages_move_from_frame_to_frame(sized: LabPage) -> None:
    moves(sized, "no-preference")
    sized.open("story=election")
    sized.press("#notable")
    sized.click("#notable")
    assert sized.message_moves()
    sized.settles()


def test_play_without_motion_goes_from_decision_to_decision(sized: LabPage) -> None:
    sized.open("story=election")
    decisions = [time_ms(sized)]
    for _ in range(5):
        sized.press("#notable")
        decisions.append(time_ms(sized))
    sized.open("story=election")
    sized.script(SPEED, "20")
    try:
        played = sized.browser.execute_async_script(PLAYED, 5)
        sized.press("#play")
    finally:
        sized.script(SPEED, "0")
    assert played == list(dict.fromkeys(decisions))[:5]


def test_play_without_motion_leaves_time_to_read(sized: LabPage) -> None:
    """At its own pace, and for twenty characters a second."""
    for words, rest_ms in ((10, 1600), (100, 4500), (1000, 9000)):
        assert sized.browser.execute_async_script(REST_MS, "x" * words) >= rest_ms


def test_timer_runs_out_and_votes_are_counted(sized: LabPage) -> None:
    sized.open("story=election")
    ring = (
        "return Number(document.querySelector('[data-node=s1] .timer')"
        ".getAttribute('stroke-dasharray').split(' ')[0])"
    )
    full = sized.script(ring)
    sized.script(
        "const one = document.getElementById('when'); one.value = 120;"
        "one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change'))"
    )
    eventually(lambda: 0 < sized.script(ring) < full / 3, "the ring has run down")
    sized.settles()
    for _ in range(4):
        sized.press("#notable")
    sized.shows_node("s1", "candidate, term 1, votes of s1")
    assert sized.text("#stage .words.candidate .votes .given text") == "1"
    for _ in range(4):
        sized.press("#notable")
    sized.shows_node("s1", "leader, term 1")


def test_rings_compare_the_timeouts_at_once(sized: LabPage) -> None:
    """The first frame of a run has their scale, and nothing of the run before it."""
    sized.open("story=crash")
    sized.press("#notable")
    sized.open("story=election")
    rings = (
        "return [...document.querySelectorAll('#stage .timer')]"
        ".map((one) => Number(one.getAttribute('stroke-dasharray').split(' ')[0]))"
    )
    s1, s2, s3 = sized.script(rings)
    assert 0 < s1 < s2 < s3 == 1
    assert sized.text("#panel").startswith("Nothing has happened yet")


def test_dragged_time_line_shows_any_moment(sized: LabPage) -> None:
    sized.open("story=crash")
    slider = sized.browser.find_element("id", "when")
    where = slider.size["width"]

    def drag(share: float) -> None:
        pointer = selenium.ActionChains(sized.browser, duration=50)
        at = int(where * (share - 0.5))
        pointer.move_to_element_with_offset(slider, at, 2).click_and_hold()
        pointer.move_by_offset(2, 0).release().perform()
        sized.settles()

    drag(0.5)
    assert 800 < time_ms(sized) < 1000
    sized.shows_node("s1", "down")
    sized.shows_node("s2", "leader, term 2")
    sized.press("#back")
    assert 280 < time_ms(sized) < 300  # where the story opens
    sized.press("#from-start")
    assert time_ms(sized) < 10
    drag(0.15)
    sized.shows_node("s1", "leader, term 1")
    assert sized.script("return document.querySelectorAll('#marks .m-election').length") > 3
    drag(0.9)
    sized.shows_node("s1", "follower, term 2")
    slider.send_keys(Keys.HOME)
    sized.settles()
    assert time_ms(sized) < 10


def test_mouse_acts_on_node_link_message_and_log_cell(sized: LabPage) -> None:
    sized.open(LED)
    browser = sized.browser

    def click(css: str) -> None:
        selenium.ActionChains(browser).click(browser.find_element("css selector", css)).perform()

    click("#stage [data-node=s3] .body")
    click("#card [data-order=Pause]")
    sized.shows_node("s3", "paused")
    sized.settles()
    click("#logs tr[data-node=s2] td.entry")
    assert "The log of s2" in sized.text("#card")
    assert "1 1 noop" in sized.text("#card .file")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    sized.settles()
    sized.ask(do="look")
    sized.type("s1", "set b 5")
    sized.click("#drawer-close")
    click("#stage .message .body")
    click("#card [data-act^=hold]")
    sized.settles()
    assert sized.script("return document.querySelectorAll('#stage .message.held').length") == 1
    middle = browser.find_element("css selector", "#stage [data-link='s2 s3'] .grip")
    selenium.ActionChains(browser).click(middle).perform()
    click("#card button")
    sized.settles()
    sized.waits_for("#stage [data-link='s2 s3']", "link between s2 and s3, cut")


def test_write_flies_from_the_leader_to_a_majority(sized: LabPage) -> None:
    sized.open(LED)
    sized.orders("s1", "Write")
    assert sized.text("#stage .client") == "client1: set x 1"
    assert sized.script("return document.querySelectorAll('#stage .k-append').length") == 2
    empty = "return [...document.querySelectorAll('#logs .empty')].map((one) => one.cellIndex)"
    assert sized.script(empty) == [2, 2]
    assert sized.browser.find_element("css selector", "#logs .leader th").accessible_name == (
        "s1, the leader"
    )
    for _ in range(4):
        sized.press("#notable")
    sized.waits_for("#told", "s1 answers client1: x set to 1")
    assert sized.text("#stage .client") == "→ client1: x set to 1"
    committed = "return document.querySelector('#logs [data-node=s1] td:nth-child(3)').title"
    assert sized.script(committed) == "entry 2 of term 1: set x 1, committed, applied"
    for _ in range(4):
        sized.press("#notable")
    assert "answers" not in sized.text("#told")
    for _ in range(4):
        sized.press("#back")
    sized.waits_for("#told", "s1 answers client1: x set to 1")


def test_follower_answers_when_its_disk_holds_the_entries(sized: LabPage) -> None:
    flying = "return [...document.querySelectorAll('#stage .message')].map((one) => one.ariaLabel)"
    sized.open(LED)
    sized.orders("s2", "Hang disk")
    sized.orders("s1", "Write")
    seen = {}
    for _ in range(4):
        sized.press("#notable")
        seen[sized.text("#panel .said")] = sized.script(flying)
    assert "s3 → s1: holds the log so far" in seen["Entries of s1 reach s3"]
    assert "s2 → s1: holds the log so far" not in seen["Entries of s1 reach s2"]
    sized.orders("s2", "Release disk")
    assert "s2 → s1: holds the log so far" in sized.script(flying)


def test_seven_nodes_stand_apart(sized: LabPage) -> None:
    sized.open("story=figure-7")
    gap = sized.script(
        "const boxes = [...document.querySelectorAll('#stage .track')]"
        ".map((one) => one.getBoundingClientRect());"
        "const far = (one, other) => Math.hypot(one.x - other.x, one.y - other.y) - one.width;"
        "return Math.min(...boxes.flatMap((one, place) =>"
        " boxes.slice(place + 1).map((other) => far(one, other))))"
    )
    assert gap > 40


def test_list_of_stories_ends_with_a_free_run(sized: LabPage) -> None:
    sized.open("story=election")
    sized.script(
        "const list = document.getElementById('stories'); list.value = 'none';"
        "list.dispatchEvent(new Event('change'))"
    )
    sized.settles()
    assert sized.script("return document.querySelectorAll('#stage .node').length") == 5
    assert not sized.script("return document.getElementById('tale').checkVisibility()")


def test_question_mark_opens_signs_and_keys(sized: LabPage) -> None:
    sized.open("story=election")
    sized.browser.find_element("css selector", "body").send_keys("?")
    assert "● commit" in sized.text("#help")
    assert "b undoes the last press" in sized.text("#help")
    sized.click("#drawer-close")


def test_card_of_a_leader_has_match_and_next(sized: LabPage) -> None:
    sized.open(LED)
    sized.click("#stage [data-node=s1]")
    assert "s2: match 1, next 2." in sized.text("#card")
    assert "To edit its log, crash it first." in sized.text("#card")
    sized.browser.switch_to.active_element.send_keys(Keys.ESCAPE)


def test_panel_says_what_an_act_did_after_a_heartbeat(sized: LabPage) -> None:
    moves(sized, "no-preference")
    sized.open(LED)
    while "a heartbeat is due" not in sized.text("#panel"):
        sized.press("#step")
    sized.orders("s3", "Crash")
    assert "s3 crashes" in sized.text("#panel")


def test_lanes_and_their_controls_are_whole(sized: LabPage) -> None:
    sized.open("story=figure-7")
    sized.click("#as-lanes")
    inside = (
        "const ends = (name) => document.getElementById(name).getBoundingClientRect().bottom;"
        "return ends('closer') < ends('lanes')"
    )
    for width, height in ((1280, 720), (390, 844)):
        resize(sized, width, height)
        eventually(lambda: sized.script(inside), "the controls are in the lanes")
        assert is_whole(sized, "#diagram, #closer, #wider, #lanes label")
    sized.click("#as-stage")


def test_keys_reach_each_act_of_a_node(sized: LabPage) -> None:
    """A node is in the order of Tab; Enter opens its card, and Escape closes it."""
    sized.open(LED)
    sized.script("document.querySelector('#stage [data-node=s1]').focus()")
    keyboard = sized.browser.switch_to.active_element
    keyboard.send_keys(Keys.ENTER)
    assert sized.script("return document.activeElement.dataset.order") == "Crash"
    sized.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    eventually(lambda: sized.script("return document.activeElement.dataset.node") == "s1", "focus")
    keyboard.send_keys(Keys.ENTER)
    sized.browser.switch_to.active_element.send_keys(Keys.ENTER)
    sized.shows_node("s1", "down")
    sized.settles()
    sized.browser.find_element("css selector", "body").send_keys("b")
    sized.shows_node("s1", "leader")
    sized.settles()


def test_arrow_keys_reach_links_messages_and_log_cells(sized: LabPage) -> None:
    sized.open("story=election")
    sized.press("#notable")
    sized.script("document.querySelector('#stage [data-node=s1]').focus()")
    reached = []
    for key in [Keys.ARROW_DOWN] * 4:
        sized.browser.switch_to.active_element.send_keys(key)
        reached.append(sized.script("return document.activeElement.getAttribute('aria-label')"))
    assert reached == [
        "link between s1 and s2",
        "link between s1 and s3",
        "s1 → s2: asks who would vote for it",
        "s1 → s3: asks who would vote for it",
    ]
    sized.browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert sized.text("#card .wire") == "s1@PreVote 1-0-0"
    sized.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    sized.open(LED)
    sized.script("document.getElementById('logs').focus()")
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ENTER):
        sized.browser.switch_to.active_element.send_keys(key)
    assert "entry 1 of term 1: noop" in sized.text("#card")
    assert "The log of s2" in sized.text("#card h2")
    sized.browser.switch_to.active_element.send_keys(Keys.ESCAPE)


def test_each_step_is_a_sentence_for_a_screen_reader(sized: LabPage) -> None:
    sized.open("story=election")
    sized.press("#notable")
    assert sized.text("#news") == (
        "The timer of s1 has run out. s1: my election timer has run out, so I ask who would vote "
        "for me in term 1"
    )


def test_reason_links_to_its_function(sized: LabPage) -> None:
    sized.open("story=election")
    sized.press("#notable")
    text = sized.browser.execute_async_script(
        "fetch(document.querySelector('#panel .place').href)"
        ".then((found) => found.text()).then(arguments[0])"
    )
    assert sized.text("#panel .place") == "election.py on_silence()"
    assert "def on_silence(" in text


def test_print_has_stage_logs_and_reason_alone(sized: LabPage) -> None:
    """White for a reader of dark pages too, and wide enough for the logs of Figure 7."""
    sized.open("story=figure-7")
    sized.press("#notable")
    resize(sized, 718, 1050)  # A4, less its margins
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    printed = {"media": "print", "features": dark}
    sized.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", printed)
    try:
        paper = "return getComputedStyle(document.body).backgroundColor"
        assert sized.script(paper) == "rgb(255, 255, 255)"
        logs = "const box = document.getElementById('logs'); return box.scrollWidth"
        assert sized.script(logs) <= sized.script(logs.replace("scrollWidth", "clientWidth"))
        seen = "return arguments[0].map((one) => document.querySelector(one).checkVisibility())"
        shown = ["#stage", "#logs", "#tale", "#panel .why"]
        assert sized.script(seen, shown) == [True] * 4
        assert sized.script(seen, ["#time", "#drawer-open"]) == [False] * 2
    finally:
        sized.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_next_ends_with_the_story_and_back_undoes_it(sized: LabPage) -> None:
    sized.open("story=election")
    seen = [time_ms(sized)]
    for _ in range(30):
        sized.press("#notable")
        seen.append(time_ms(sized))
        if seen[-1] == seen[-2]:
            break
    assert seen[-1] == 400
    assert "The story ends here" in sized.text("#told")
    for earlier in reversed(seen[:-2]):
        sized.press("#back")
        assert time_ms(sized) == earlier


def test_act_makes_a_story_the_readers_own_run(sized: LabPage) -> None:
    sized.open("story=crash")
    sized.press("#notable")
    sized.orders("s3", "Crash")
    sized.waits_for("#tale", "This is your own run now")
    sized.press("#again")
    sized.waits_for("#tale", "Who leads at 1800 ms?")


def test_address_of_a_step_opens_the_story_there(sized: LabPage) -> None:
    sized.open("story=crash")
    for _ in range(6):
        sized.press("#notable")
    addresses, seen = [], []
    for act in (None, "Crash"):
        if act is not None:
            sized.orders("s3", act)
        sized.click("#share")
        addresses.append(sized.script("return location.hash"))
        seen.append((time_ms(sized), sized.text("#tale")))
    assert "s2 hears nothing more" in seen[0][1]
    assert "This is your own run now" in seen[1][1]
    sized.open("story=election")
    for address, shown in zip(addresses, seen, strict=True):
        sized.script("location.hash = arguments[0]", address)
        shows(sized, *shown)
    sized.script("history.back()")
    shows(sized, *seen[0])


def shows(page: LabPage, ms: int, tale: str) -> None:
    """Wait until the page shows this moment of this story."""
    eventually(lambda: (time_ms(page), page.text("#tale")) == (ms, tale), f"{tale} at {ms} ms")


def test_controls_say_which_run_is_open(sized: LabPage) -> None:
    sized.open("seed%207;nodes%20s1%20s2%20s3%20s4%20s5;bug%203;before%20leases")
    names = ("bugs", "size", "seed", "before")
    shown = [
        sized.script("return document.getElementById(arguments[0]).value", one) for one in names
    ]
    assert shown == ["3", "5", "7", "leases"]
    sized.open("story=figure-7")
    assert sized.script("return document.getElementById('size').value") == "7"


def test_phone_has_stage_sentence_and_step_at_once(sized: LabPage) -> None:
    resize(sized, 390, 844)
    sized.open("story=crash")
    for _ in range(3):
        sized.press("#notable")
        assert is_whole(sized, "#stage, #transport button, #tale .question, #panel .said")
    assert sized.script(WIDE)
    sized.open("first=355")
    assert sized.text("#stage .client") == "→ client1: tea set to hot"
    assert is_whole(sized, "#stage .client")


@pytest.mark.parametrize("width", [1000, 1280, 1400, 1499, 1500, 1920])
def test_drawer_lies_next_to_the_stage(sized: LabPage, width: int) -> None:
    """It covers the parts next to the stage, and no node."""
    resize(sized, width, 800)
    sized.open(LED)
    sized.press("#drawer-open")
    stage, drawer = sized.script(
        "const box = (css) => document.querySelector(css).getBoundingClientRect();"
        "return [box('#stage-box').right, box('#drawer').left]"
    )
    assert stage <= drawer


def test_touch_acts_on_a_node(sized: LabPage) -> None:
    resize(sized, 390, 844)
    sized.open(LED)
    box = sized.script(
        "const box = document.querySelector('[data-node=s2] .body')"
        ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + 20]"
    )
    for css in (None, "#card [data-order=Crash]"):
        if css is not None:
            box = sized.script(
                "const box = document.querySelector(arguments[0])"
                ".getBoundingClientRect(); return [box.x + 9, box.y + 9]",
                css,
            )
        point = [{"x": box[0], "y": box[1]}]
        touch = "Input.dispatchTouchEvent"
        sized.browser.execute_cdp_cmd(touch, {"type": "touchStart", "touchPoints": point})
        sized.browser.execute_cdp_cmd(touch, {"type": "touchEnd", "touchPoints": []})
        eventually(
            lambda: sized.script("return Boolean(document.querySelector('#card h2'))"), "card"
        )
        if css is None:
            assert sized.script(BELOW)
    sized.shows_node("s2", "down")
    sized.settles()


def test_run_with_an_edited_log_is_marked(sized: LabPage) -> None:
    """The mark is next to the name of the run, with a sentence for a screen reader."""
    resize(sized, 390, 844)
    sized.open(LED)
    assert sized.text("#mark") == ""
    sized.orders("s3", "Crash")
    sized.orders("s3", "Edit log")
    sized.press("#editor [value=save]")
    sized.waits_for("#mark [title]", "edited by hand")
    assert "only the rules that no forger can break" in sized.text("#mark .unseen")
    assert is_whole(sized, "#mark [title]")
    assert sized.script(WIDE)
    sized.press("#back")
    assert sized.text("#mark") == ""


CELLS = """return [...document.querySelectorAll('#logs td.entry')].map((one) =>
    [one.querySelector('b').innerText, one.innerText, one.title])"""


@pytest.mark.parametrize("story", ["figure-7", "figure-8", "members"])
def test_each_cell_of_the_logs_begins_with_its_term(sized: LabPage, story: str) -> None:
    sized.open(f"story={story}")
    for _ in range(3):
        sized.press("#notable")
        cells = sized.script(CELLS)
        assert cells
        for term, text, title in cells:
            assert re.fullmatch(rf"entry \d+ of term {term}: .*", title)
            assert re.match(rf"↺?{term} \S", text), text


def test_story_is_answered_by_keys_alone(sized: LabPage) -> None:
    sized.open("story=split-vote")
    answers_a_story_by_keys(
        sized, lambda key: selenium.ActionChains(sized.browser).send_keys(key).perform()
    )


FAULTS = """return [...document.querySelectorAll('#stage [data-node], #stage [data-link]')]
    .filter((one) => /down|paused|not there|, cut/.test(one.ariaLabel))
    .map((one) => one.ariaLabel.replace(/, term.*/, ''))"""
CHOSEN = """return [...document.querySelectorAll('#stage .chosen[data-node]')]
    .map((one) => one.ariaLabel)"""


# Words below or above a node on which a message lies, and words that leave the stage.
COVERED = """const box = (one) => one.getBoundingClientRect();
    const stage = box(document.getElementById('stage'));
    const words = [...document.querySelectorAll('#stage .words .role, #stage .votes > g')]
        .filter((one) => one.textContent);
    const bodies = [...document.querySelectorAll('#stage .message .glyph > .body')];
    const meet = (a, b) => a.left < b.right && b.left < a.right
        && a.top < b.bottom && b.top < a.bottom;
    return words.filter((one) => box(one).top < stage.top || box(one).bottom > stage.bottom
        || bodies.some((body) => meet(box(body), box(one)))).map((one) => one.textContent)"""


@pytest.mark.parametrize("story", [story.name for story in STORIES])
def test_panel_names_what_the_picture_shows(sized: LabPage, story: str) -> None:
    """At each stop of Next: the fault that came, or the node that decided, in its term."""
    sized.open(f"story={story}")
    before = set(sized.script(FAULTS))
    stops = faults = 0
    while True:
        sized.press("#notable")
        if "ends here" in sized.text("#told") or "Nothing more happens" in sized.text("#told"):
            break
        stops += 1
        faults_now, panel = set(sized.script(FAULTS)), sized.text("#panel")
        chosen = sized.script(CHOSEN)
        if changed := before ^ faults_now:
            faults += 1
            named = set(re.findall(r"\bs\d\b", " ".join(changed)))
            assert named & set(re.findall(r"\bs\d\b", panel)) or "All links" in panel, panel
        said = re.match(r"(?:(s\d), term (\d+), )?at (\d+) ms", panel)
        assert said is not None, panel
        node, term, ms = said.groups()
        if chosen:
            assert re.match(rf"{node}: .*, term {term}\b", chosen[0]), (panel, chosen)
            assert not changed or re.search(r"^s\d starts$", panel, re.MULTILINE), panel
        else:
            assert node is None, panel
        assert abs(int(ms) - time_ms(sized)) <= 3, panel  # its bookkeeping comes after it
        assert sized.script(COVERED) == [], panel
        before = faults_now
    assert stops >= 6
    assert (faults > 0) == any(word in PLANS[story] for word in ("cut", "crash", "lose"))


PLANS = {story.name: story.plan.partition("0ms")[2] for story in STORIES}


CUT_OFF = """const key = document.getElementById('key');
    return [key.scrollWidth - key.clientWidth, document.getElementById('logs').scrollLeft]"""


def test_signs_and_figure_7_are_whole_on_a_small_screen(sized: LabPage) -> None:
    """Also while it plays, and at the end, where each follower has a mark in the last column."""
    resize(sized, 1280, 720)
    sized.open("story=figure-7")
    assert sized.script(CUT_OFF) == [0, 0]
    sized.click("#play")
    assert sized.script(CUT_OFF) == [0, 0]
    while "ends here" not in sized.text("#told"):
        sized.press("#notable")
    assert sized.script(CUT_OFF) == [0, 0]


def test_right_click_opens_the_card_of_a_node(sized: LabPage) -> None:
    sized.open(LED)
    menu = "new MouseEvent('contextmenu', {bubbles: true, cancelable: true})"
    node = "document.querySelector('#stage [data-node=s1]')"
    assert sized.script(f"return {node}.dispatchEvent({menu})") is False  # the browser opens none
    sized.waits_for("#card", "s1: leader")


def test_run_can_be_sent_from_where_it_is_seen(sized: LabPage) -> None:
    """On a phone, whose head has no room for it, from the drawer."""
    for width, place in ((1280, "header .share"), (390, "#drawer .share")):
        resize(sized, width, 720)
        sized.open("story=crash")
        if width < 1000:
            sized.opens_drawer()
        seen = "return document.querySelector(arguments[0]).checkVisibility()"
        assert sized.script(seen, place)
        sized.click(place)
        assert sized.script("return location.hash").startswith("#story=crash;at%20")
    sized.click("#drawer-close")
