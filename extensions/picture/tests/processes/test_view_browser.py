"""The picture in a real browser: an election, a partition by a click, the reason of a vote.

`make -C testing view-test` runs it. It is skipped where there is no chromium or no selenium.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from raftline.picture.tests.processes.axe import SCHEMES, needs_axe, violations, with_axe
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.processes import Process, eventually, free_ports

webdriver = pytest.importorskip("selenium.webdriver", reason="the test needs selenium")
pytest.importorskip("aiohttp", reason="the page needs aiohttp")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no chromium with its driver (apt: chromium-driver)"
)
PROGRAM = [sys.executable, str(Path(__file__).parents[4] / "src" / "cli.py")]
# With room for one event at a time, so that any cluster has too many, however slow the machine is.
NARROW = "import sys; from raftline.picture.view import feed; from raftline import cli"
NARROW += "; feed.BATCH_MAX = 1; sys.exit(cli.main())"
LEARN = Path(__file__).parents[4] / "docs" / "learn"
SIZES = ((1600, 1200), (400, 900))


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        yield cluster.start().led_by("s1")


@pytest.fixture
def port(three: Cluster, request: pytest.FixtureRequest) -> Iterator[int]:
    number = next(free_ports)
    program = getattr(request, "param", PROGRAM)
    command = [*program, "view", "--dir", str(three.folder)]
    page = Process("view", [*command, "--port", str(number)])
    page.launch().wait_for_line("the picture: http://localhost:")
    yield number
    page.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw the transcripts of docs/learn as pages; return their folder."""
    folder = tmp_path_factory.mktemp("learn")
    for path in LEARN.glob("*.txt"):
        command = [*PROGRAM, "picture", str(path), "--out", str(folder / f"{path.stem}.html")]
        subprocess.run(command, check=True)
    return folder


class Page:
    """The page as its reader sees it."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, address: str, size: tuple[int, int] = SIZES[0]) -> Page:
        self.browser.set_window_size(*size)
        self.browser.get("about:blank")
        self.complaints()  # of the page before, whose server has ended
        self.browser.get(address)
        return self

    def all(self, css: str) -> list[Any]:
        found: list[Any] = self.browser.find_elements("css selector", css)
        return found

    def text(self, css: str) -> str:
        """Return the text of the first element, "" where there is none."""
        script = "const e = document.querySelector(arguments[0]); return e ? e.textContent : ''"
        return str(self.browser.execute_script(script, css))

    def click(self, css: str) -> None:
        self.browser.execute_script("document.querySelector(arguments[0]).click()", css)

    def role(self, node: str) -> str:
        return self.text(f'[aria-label="{node}"] .role')

    def until(self, css: str, word: str) -> str:
        return eventually(lambda: found if word in (found := self.text(css)) else "", word)

    def choose(self, word: str) -> None:
        """Click on the latest event with this word, as soon as there is one."""
        script = """const found = [...document.querySelectorAll('#list button')]
            .filter((button) => button.textContent.includes(arguments[0]));
            if (found.length) found[found.length - 1].click();
            return found.length"""
        eventually(lambda: self.browser.execute_script(script, word), word)

    def seconds_in_sight(self) -> float:
        """Return how long a stretch of time the picture shows."""
        return float(self.all("#diagram")[0].get_attribute("data-span"))

    def complaints(self) -> list[str]:
        return [one["message"] for one in self.browser.get_log("browser")]


@pytest.fixture
def page(browser: Any, port: int) -> Page:
    return Page(browser).open(f"http://localhost:{port}/")


def test_page_of_up_needs_its_key_and_ends_a_process(browser: Any, tmp_path: Path) -> None:
    """The page of `raftline up` opens with its key alone, and ends a process."""
    config = tmp_path / "server-configuration.txt"
    config.write_text("".join(f"s{n} localhost {next(free_ports)}\n" for n in (1, 2, 3)))
    command = [*PROGRAM, "up", "--dir", str(tmp_path), "--view", str(next(free_ports))]
    with closing(Process("up", command)) as up:
        address = up.launch().wait_for_line("the picture: http://").split()[-1]
        page = Page(browser).open(address.partition("#")[0])
        page.until("#link", "open the printed address, which has the key")
        browser.get(address)  # in the same tab, where only the part after # is new
        page.until('[aria-label="s1"] .role', ", term ")
        page.click('[data-node="s1"][data-order="Kill"]')
        page.until("#answers", "s1 was killed")
        up.wait_for_line("s1 died (killed by SIGKILL)")
        page.until('[aria-label="s1"] .role', "does not answer")
        shown = """return [...document.querySelectorAll('[aria-label="s1"] [data-order]')]
            .filter((button) => button.offsetParent).map((button) => button.dataset.order)"""
        eventually(lambda: browser.execute_script(shown) == ["Start"], "only what revives it")


def test_partition_by_a_click_leads_to_an_explained_election(page: Page, three: Cluster) -> None:
    """A partition made by a click leads to an election whose votes tell why."""
    page.until('[aria-label="s1"] .role', "leader, term")
    page.click('[data-node="s1"][data-order="Cut off"]')
    page.until("#answers", "s1@PARTITION response: in force: PARTITION s2 s3")
    page.until('[aria-label="s1"] .asked', "asked: PARTITION s2 s3 at ")
    leader = eventually(
        lambda: next((n for n in ("s2", "s3") if page.role(n).startswith("leader")), ""),
        "a leader of the other two",
    )
    page.until('[aria-label="s1"] .role', "candidate")
    page.choose("RequestVote")
    details = page.until("#details", "The line on the wire")
    assert "granted: I gave no other vote" in details
    assert "(§5.2, §5.4.1)" in details
    assert "src/raft/election.py on_request_vote()" in details
    page.until("#moment", "the dotted line")  # what was chosen is shown
    page.click("#live")
    page.click('[data-node="s1"][data-order="Heal"]')
    page.until('[aria-label="s1"] dl', leader)
    eventually(lambda: not page.text('[aria-label="s1"] .asked'), "no order in force")
    page.click("#previous")
    eventually(lambda: page.seconds_in_sight() < 4, "the election alone, of four seconds before")
    assert page.complaints() == []


def test_a_value_stays_text_and_the_log_shows_it_as_committed(page: Page, three: Cluster) -> None:
    value = "<script>document.title='broken'</script><img src=x onerror=alert(1)>"
    three["s1"].ask(f"client4@set shown {value}")
    last = '[data-node="s2"] td.committed.applied.last'
    page.until(last, "set shown <script>")
    title = page.browser.execute_script("return document.querySelector(arguments[0]).title", last)
    assert title.startswith(f"entry {three['s1'].status()['last_index']} of term ")
    page.choose("Propose")
    page.until("#details", "set shown <script>")
    assert page.browser.title == "raftline view"
    assert page.complaints() == []


def test_a_line_is_typed_and_time_is_stopped_and_walked(page: Page, three: Cluster) -> None:
    page.until('[aria-label="s1"] .role', "leader, term")  # the page knows the nodes
    page.all("#line")[0].send_keys("me@set typed 5")
    page.click("#form button")
    page.until("#answers", "s1@SET response: typed set to 5")
    page.until('#logs [data-node="s1"]', "set typed 5")
    page.click("body")
    page.all("body")[0].send_keys(" ")
    page.until("#pause", "Resume")
    page.all("#jump option[value=commit]")[0].click()
    page.click("#previous")
    page.until("#details", "so it is committed")
    eventually(lambda: page.all("#list [aria-current=true]"), "the chosen step in the list")
    before = page.text("#list")
    page.click("#back")
    eventually(lambda: page.text("#list") != before, "an earlier part")
    page.click("#live")
    page.until("#pause", "Pause")


def test_what_is_chosen_in_the_list_comes_into_sight(page: Page, three: Cluster) -> None:
    page.until('[aria-label="s1"] .role', "leader, term")
    three["s1"].ask("client4@set b 5")
    page.until("#list", "Propose")
    while page.seconds_in_sight() > 0.01:  # the step leaves the picture, and stays in the list
        before = page.seconds_in_sight()
        page.click("#closer")
        eventually(lambda before=before: page.seconds_in_sight() < before, "a closer look")
    page.choose("Propose")
    page.until("#moment", "the dotted line")
    assert page.complaints() == []


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_screen(page: Page, port: int, size: tuple[int, int]) -> None:
    page.open(f"http://localhost:{port}/", size)
    page.until('[aria-label="s1"] .role', "leader")
    width = "return [document.documentElement.scrollWidth, innerWidth]"
    wide, room = page.browser.execute_script(width)
    assert wide <= room
    unnamed = """return [...document.querySelectorAll('button, select, input, canvas')].filter(
        (e) => !(e.textContent.trim() || e.ariaLabel || e.labels && e.labels.length)).length"""
    assert page.browser.execute_script(unnamed) == 0


def test_heartbeats_are_seen_at_rest(page: Page) -> None:
    page.until('[aria-label="s1"] .role', "leader, term")
    assert not page.all("#pulses")[0].is_selected()
    arrows = """return document.querySelector('#hint').hidden ? 0
        : Number(document.querySelector('#diagram').dataset.arrows)"""
    several = "one of each second, where there are only heartbeats"
    eventually(lambda: page.browser.execute_script(arrows) >= 4, several)


def test_details_stand_next_to_the_picture_on_a_small_screen(page: Page, port: int) -> None:
    """Details and buttons stand next to the picture on a small screen."""
    page.open(f"http://localhost:{port}/", (1200, 940))
    screen = {"width": 1200, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        page.until('[aria-label="s3"] dl', "vote")
        box = "const box = document.querySelector(arguments[0]).getBoundingClientRect(); "
        bottom = box + "return box.bottom"
        assert page.browser.execute_script(box + "return box.left", "#details") > 700
        assert page.browser.execute_script(bottom, "#details h2") < 800
        assert page.browser.execute_script(bottom, '[data-node="s3"][data-order="Heal"]') <= 800
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("run", ["2-a-split-vote", "5-a-partition-healed"])
@pytest.mark.parametrize("width", [1200, 1600])
def test_no_label_of_the_picture_touches_another(
    browser: Any, runs: Path, run: str, width: int
) -> None:
    """The five nodes of the second run split their votes; each step of its story is measured."""
    page = Page(browser).open((runs / f"{run}.html").as_uri(), (width, 900))
    measured = 0
    touching = """const boxes = document.querySelector('#diagram').boxes;
        return [boxes.length, boxes.flatMap((one, i) => boxes.slice(i + 1).filter((other) =>
            one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3]))]"""
    place, steps = page.until("#story [data-part=count]", " of ").split(" of ")
    for step in range(int(place), int(steps) + 1):
        page.until("#story [data-part=count]", f"{step} of ")
        drawn = (
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )
        browser.execute_async_script(drawn)
        count, pairs = browser.execute_script(touching)
        assert pairs == []
        measured += count
        page.click("#story [data-part=on]")
    assert measured > 10
    assert page.complaints() == []


def test_click_on_the_cross_of_a_lost_message_says_where(browser: Any, runs: Path) -> None:
    """A click on the cross of a lost message says where it was lost."""
    page = Page(browser).open((runs / "5-a-partition-healed.html").as_uri())
    page.until("#story [data-part=count]", "1 of ")
    crosses = "return document.querySelector('#diagram').crosses"
    while not browser.execute_script(crosses):  # the partition is some steps ahead
        before = page.text("#story [data-part=count]")
        page.click("#story [data-part=on]")
        eventually(lambda before=before: page.text("#story [data-part=count]") != before, "a step")
        browser.execute_async_script("requestAnimationFrame(arguments[0])")
        browser.execute_async_script("requestAnimationFrame(arguments[0])")
    browser.execute_script(
        """const canvas = document.querySelector('#diagram'), box = canvas.getBoundingClientRect();
        const [x, y] = canvas.crosses[0], at = { clientX: box.left + x, clientY: box.top + y };
        canvas.dispatchEvent(new MouseEvent('click', at));"""
    )
    assert "It was lost at s1, and was not sent, at " in page.until("#details", "It was lost")
    assert page.complaints() == []


def test_a_saved_page_shows_the_same_from_a_file(
    browser: Any, three: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "saved.html"
    command = [*PROGRAM, "view", "--dir", str(three.folder)]
    subprocess.run([*command, "--save", str(path), "--for", "2"], check=True)
    page = Page(browser).open(path.as_uri())
    page.until('[aria-label="s1"] .role', "leader, term")
    assert not page.all("#form:not([hidden])")
    assert page.complaints() == []


def test_a_story_keeps_the_log_of_a_dead_node_in_sight(browser: Any, runs: Path) -> None:
    page = Page(browser).open((runs / "4-figure-8.html").as_uri())
    page.until("#story [data-part=count]", "1 of 12")
    eventually(lambda: page.all('#logs [data-node="s1"] td.down'), "s1 died with its entry 2")
    assert len(page.all('#logs [data-node="s1"] td.down')) == 2
    page.click("#story [data-part=on]")
    page.click("#story [data-part=on]")
    page.until("#story [data-part=text]", "(c) s1 comes back")
    eventually(lambda: not page.all('#logs [data-node="s1"] td.down'), "s1 is back")
    assert (
        page.all('#logs [data-node="s5"] td.down')[1]
        .get_attribute("title")
        .startswith("entry 2 of term 3")
    )
    assert not page.all("#live:not([hidden])")
    assert page.complaints() == []


def test_sentence_of_a_saved_run_is_that_of_the_moment_in_sight(browser: Any, runs: Path) -> None:
    """By its own button, by the keys, and by a jump; one button alone is named Next."""
    page = Page(browser).open((runs / "4-figure-8.html").as_uri())
    page.until("#story [data-part=count]", "1 of 12")
    named = "return [...document.querySelectorAll('button')].map((one) => one.textContent)"
    assert [one for one in browser.execute_script(named) if "Next" in one] == ["Next ▶"]
    for key, count in (("n", "2 of 12"), ("n", "3 of 12"), ("p", "2 of 12")):
        browser.find_element("css selector", "body").send_keys(key)
        assert page.text("#story [data-part=count]") == count
    page.click("#next")
    jumped = page.text("#story [data-part=text]")
    assert "s1 " in jumped or "s5 " in jumped
    said = [page.text("#story [data-part=count]")]
    for _ in range(12):
        page.click("#next")
        said.append(page.text("#story [data-part=count]"))
    assert said == sorted(said, key=lambda one: int(one.split()[0]))
    assert len(set(said)) > 2
    assert page.complaints() == []


def test_with_five_nodes_all_is_in_sight_on_a_screen(browser: Any, runs: Path) -> None:
    page = Page(browser)
    screen = {"width": 1600, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        page.open((runs / "5-a-partition-healed.html").as_uri())
        page.until("#story [data-part=count]", "1 of ")
        page.until('[aria-label="s5"] dl', "vote")
        ends = "return document.querySelector('#nodes').getBoundingClientRect().bottom"
        assert browser.execute_script(ends) <= screen["height"]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert page.complaints() == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_anybody_out(
    page: Page, port: int, three: Cluster, size: tuple[int, int], scheme: str
) -> None:
    axe = pytest.importorskip("axe_core_python.selenium", reason="the test needs axe-core").Axe()
    preferred = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", preferred)
    page.open(f"http://localhost:{port}/", size)
    page.until('[aria-label="s1"] .role', "leader, term")
    three["s1"].ask("me@set seen 5")
    page.choose("so it is committed")
    found = axe.run(page.browser)["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_keyboard_reaches_all_and_elections_are_announced(page: Page, port: int) -> None:
    """All is reached by the keyboard and elections are announced."""
    page.until('[aria-label="s1"] .role', "leader, term")
    page.click('[data-node="s1"][data-order="Shut down"]')
    page.until("#news", "is leader in term")
    assert page.all("#news")[0].get_attribute("aria-live") == "polite"
    assert page.all("#details")[0].get_attribute("aria-live") == "polite"
    page.click("#pause")
    page.choose("RequestVote")
    reached = """const all = document.querySelectorAll('a, button, select, input, [tabindex]');
        const seen = new Set([...all].filter((e) => e.tabIndex >= 0 && !e.disabled)
            .map((e) => e.id || e.dataset.order));
        return ['pause', 'live', 'speed', 'jump', 'previous', 'next', 'diagram', 'target', 'line',
            'Cut off'].filter((name) => !seen.has(name))"""
    assert page.browser.execute_script(reached) == []
    page.click('[data-node="s1"][data-order="Restart"]')
    page.until("#answers", "RESTART")


@pytest.mark.parametrize("port", [[sys.executable, "-c", NARROW]], indirect=True, ids=["narrow"])
def test_of_too_many_messages_the_page_shows_some_and_says_so(page: Page, three: Cluster) -> None:
    page.until('[aria-label="s1"] .role', "leader, term")
    stop = threading.Event()

    def write() -> None:
        with three["s1"].connect() as connection:
            while not stop.is_set():
                connection.send(*[f"set busy {number}" for number in range(5)])
                for _ in range(5):
                    connection.read()

    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    try:
        page.until("#thin", "steps and messages omitted in all: too many to show")
        first = thinned(page)
        eventually(lambda: thinned(page) > first, "more")
        drawn = """const done = arguments[0]; let frames = 0;
            const count = () => { frames += 1;
                if (frames < 5) requestAnimationFrame(count); else done(frames); };
            requestAnimationFrame(count)"""
        assert page.browser.execute_async_script(drawn) == 5  # the page does not stand still
        page.click("#pause")
        page.until("#pause", "Resume")
        assert len(page.all("#list li")) <= 120
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    page.click("#live")
    last = '[data-node="s2"] td.committed.applied.last'
    page.until(last, "set busy 4")  # entries of steps that were left out came with later ones
    assert page.complaints() == []


def thinned(page: Page) -> int:
    """Return how many steps and messages the page says to leave out."""
    found = re.search(r"([0-9]+) steps and messages omitted", page.text("#thin"))
    return int(found[1]) if found else 0


@needs_axe
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_in_the_view(page: Page, scheme: str) -> None:
    page.until('[aria-label="s1"] .role', "leader, term")
    with_axe(page.browser, scheme)
    assert violations(page.browser) == []
    page.click('[data-node="s1"][data-order="Cut off"]')
    page.until("#answers", "in force: PARTITION s2 s3")
    page.choose("granted")
    assert violations(page.browser) == []
    with_axe(page.browser, "")


@needs_axe
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_in_a_saved_run(browser: Any, runs: Path, scheme: str) -> None:
    for path in sorted(runs.glob("*.html")):
        page = Page(browser).open(path.as_uri())
        with_axe(browser, scheme)
        assert violations(browser) == []
        page.click('#story [data-part="on"]')
        assert violations(browser) == []
    with_axe(browser, "")
