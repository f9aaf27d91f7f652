"""Leases that a thread or a task renews, by a clock that the test moves."""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from raftline.clients.calls.calls import Call
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.connections.node_connection import Unreachable
from raftline.clients.leases import lease as lease_module
from raftline.clients.leases.aio_lease import AioKeeper, AioLease
from raftline.clients.leases.lease import Keeper, Lease
from raftline_testing.nodes.processes import eventually
from raftline_testing.nodes.refused_threads import refuse

Result = TypeVar("Result")
DEADLINE_S = 30.0


# --- of threads ---------------------------------------------------------------------------------


class Client:
    """Answers each request by a function of the test, and notes it."""

    timeout = 10.0

    def __init__(self) -> None:
        self.now_s = 100.0
        self.changed = threading.Condition()
        self.asked: list[tuple[str, float | None]] = []
        self.granted = 0
        self.gone: set[str] = set()
        self.answer: Callable[[str], object] = self.known
        self.keeper = Keeper(self, "test", self.now)

    def now(self) -> float:
        return self.now_s

    def known(self, command: str) -> object:
        """Answer as a cluster that knows its leases."""
        verb, _, rest = command.partition(" ")
        if verb == "lease":
            self.granted += 1
            return f"lease-{self.granted}"
        return rest not in self.gone if verb == "renew" else 1

    def ask(self, call: Call[Result], timeout: float | None = None) -> Result:
        with self.changed:
            self.asked.append((call.command, timeout))
            self.changed.notify_all()
        return self.answer(call.command)  # type: ignore[return-value]

    def lease(self, ttl: float = 9, **more: Any) -> Lease:
        return Lease(self, self.keeper, ttl, now=self.now, **more)

    def passes(self, seconds: float) -> None:
        """Pass time, and make the thread see it."""
        self.now_s += seconds
        with self.keeper._changed:
            self.keeper._changed.notify()

    def until_asked(self, command: str, count: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(
                lambda: [each for each, _ in self.asked].count(command) >= count, DEADLINE_S
            ), self.asked


def ends(keeper: Keeper) -> None:
    """Wait until the thread has ended by itself. The time in which it lingers is over."""

    def has_ended() -> bool:
        with keeper._changed:
            keeper._changed.notify_all()
        return not keeper._runs

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lease_module, "LINGER_S", 0.0)
        eventually(has_ended)


class Lost:
    """An `on_lost`: it notes its call, then does what the test wants."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.called = threading.Event()
        self.then = then
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.called.set()
        self.then()


def raises() -> None:
    raise ValueError("of a program")


def test_a_lease_without_a_thread_is_not_held_and_later_ones_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client()
    lease = client.lease()
    with monkeypatch.context() as patched:
        refuse(patched)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            lease.grant()
    assert not lease.is_held
    lease.grant()
    client.passes(3.0)
    client.until_asked(f"renew {lease}")
    client.keeper.close()


@pytest.mark.parametrize("then", [sys.exit, raises, threading.Event().wait])
def test_whatever_an_on_lost_does_other_leases_are_renewed(
    then: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    client, lost = Client(), Lost(then)
    first, second = client.lease(on_lost=lost).grant(), client.lease().grant()
    client.gone.add(first.id)
    client.passes(3.0)
    assert lost.called.wait(DEADLINE_S)
    client.until_asked(f"renew {second}")
    client.passes(3.0)
    client.until_asked(f"renew {second}", 2)
    third = client.lease().grant()
    client.passes(3.0)
    client.until_asked(f"renew {third}")
    assert (first.is_held, second.is_held, third.is_held) == (False, True, True)
    second.release()
    third.release()
    ends(client.keeper)
    assert lost.calls == 1
    assert [each.exc_type for each in raised] == [ValueError] * (then is raises)


def of_raftline(caplog: pytest.LogCaptureFixture) -> list[tuple[str, object]]:
    """Return what was logged, each with the class of the error whose traceback it has."""
    return [
        (each.getMessage(), each.exc_info and each.exc_info[0])
        for each in caplog.records
        if each.name == "raftline"
    ]


def test_error_in_a_renewal_is_logged_once_and_spares_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error during a renewal is logged once, and other leases are still renewed."""
    client, lost = Client(), Lost()
    first, second = client.lease(6, on_lost=lost).grant(), client.lease().grant()

    def answer(command: str) -> object:
        if command == f"renew {first}":
            raise TypeError("of this program")
        return client.known(command)

    client.answer = answer
    client.passes(2.0)
    client.until_asked(f"renew {first}")
    client.passes(1.0)
    client.until_asked(f"renew {first}", 2)
    client.until_asked(f"renew {second}")
    client.passes(3.0)
    assert lost.called.wait(DEADLINE_S)
    client.until_asked(f"renew {second}", 2)
    assert (first.is_held, second.is_held) == (False, True)
    second.release()
    ends(client.keeper)
    assert of_raftline(caplog) == [
        ("lease-1 was not renewed because of an error in this program", TypeError)
    ]


def test_lease_released_amid_its_renewal_is_not_lost() -> None:
    """If a lease is released during its renewal, it is not reported as lost."""
    client, lost, goes_on = Client(), Lost(), threading.Event()

    def answer(command: str) -> object:
        if command.startswith("renew"):
            assert goes_on.wait(DEADLINE_S)
            return False
        return client.known(command)

    client.answer = answer
    with client.lease(on_lost=lost) as lease:
        client.passes(3.0)
        client.until_asked("renew lease-1")
        assert lease.release() == 1
        goes_on.set()
        ends(client.keeper)
    assert lease.wait_lost(0) is False
    assert lost.calls == 0


def test_a_long_lease_leaves_a_short_one_its_time() -> None:
    client = Client()
    long, short = client.lease(18).grant(), client.lease(6).grant()
    for count in (1, 2, 3):
        client.passes(2.0)
        client.until_asked(f"renew {short}", count)
    client.until_asked(f"renew {long}")  # both were due; the short one went first
    assert client.asked[2:] == [(f"renew {short}", 2.0)] * 3 + [(f"renew {long}", 2.0)]
    short.release()
    client.passes(6.0)
    client.until_asked(f"renew {long}", 2)
    assert client.asked[-1] == (f"renew {long}", 6.0)
    client.keeper.close()


def test_the_thread_renews_no_lease_that_the_program_renews() -> None:
    client, lost = Client(), Lost()
    lease = client.lease(keep=False, on_lost=lost).grant()
    client.passes(4.0)
    assert lease.check(timeout=5) is lease
    client.passes(8.9)
    assert not lease.wait_lost(0)
    assert lease.is_held
    client.passes(0.1)
    assert (lease.is_held, lease.left) == (False, 0.0)
    assert lease.wait_lost(DEADLINE_S)
    assert lost.called.wait(DEADLINE_S)
    assert client.asked == [("lease 9", None), ("renew lease-1", 5)]
    ends(client.keeper)


def test_closing_does_not_wait_for_a_renewal_that_is_under_way() -> None:
    client, goes_on = Client(), threading.Event()

    def answer(command: str) -> object:
        if command.startswith("renew"):
            assert goes_on.wait(DEADLINE_S)
        return client.known(command)

    client.answer = answer
    lease, lost = client.lease(), Lost()
    lease.grant()
    client.passes(3.0)
    client.until_asked("renew lease-1")
    client.keeper.close()
    assert client.keeper._runs  # it has not been waited for
    assert not lease.is_held
    goes_on.set()
    ends(client.keeper)
    assert lost.calls == 0


def test_closing_waits_for_a_thread_that_only_waits() -> None:
    client = Client()
    lease = client.lease().grant()
    assert client.keeper._runs
    client.keeper.close()
    assert not client.keeper._runs
    assert not lease.is_held
    with pytest.raises(LeaseLost):
        lease.check()


def test_with_reports_the_loss_of_its_lease_and_nothing_else() -> None:
    client = Client()

    def use(work: Callable[[Lease], object], **more: Any) -> None:
        with client.lease(**more) as lease:
            work(lease)

    def ends_elsewhere(lease: Lease) -> None:
        client.gone.add(lease.id)
        client.passes(3.0)
        assert lease.wait_lost(DEADLINE_S)

    def loses_and_fails(lease: Lease) -> None:
        lease._lose()
        raises()

    with pytest.raises(LeaseLost, match="lease-1 has ended"):
        use(ends_elsewhere)
    with pytest.raises(ValueError, match="of a program"):
        use(loses_and_fails)
    use(Lease.release)
    with pytest.raises(LeaseLost, match="lease-4 has ended"):
        use(lambda lease: client.passes(9.0) or lease.wait_lost(), keep=False)
    assert client.asked[-1][0] == "lease 9"  # it has expired
    use(lambda lease: None)
    assert client.asked[-1][0] == "release lease-5"
    with pytest.raises(ValueError, match="of a program"):
        use(lambda lease: raises())
    assert client.asked[-1][0] == "release lease-6"


def test_a_grant_that_comes_too_late_was_never_held() -> None:
    client, lost = Client(), Lost()

    def answer(command: str) -> object:
        client.now_s += 9.0
        return client.known(command)

    client.answer = answer
    lease = client.lease(on_lost=lost)
    with pytest.raises(LeaseLost, match="over before its grant arrived"):
        lease.grant()
    assert not client.keeper._runs
    with pytest.raises(RuntimeError, match="was not granted"):
        lease.wait_lost()
    client.answer = client.known
    assert lease.grant().is_held
    assert not lease.wait_lost(0)
    lease.release()
    assert lost.calls == 0


def test_nothing_is_left_of_a_lease_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds even if the TTL that was granted has not passed. The thread ends unasked."""
    monkeypatch.setattr(lease_module, "LINGER_S", 0.1)
    client = Client()
    lease = client.lease().grant()
    assert lease.left == 9.0
    client.gone.add(lease.id)  # an operator has released it
    with pytest.raises(LeaseLost):
        lease.check()
    assert (lease.is_held, lease.left) == (False, 0.0)
    lease.grant().release()
    assert (lease.is_held, lease.left) == (False, 0.0)
    eventually(lambda: not client.keeper._runs)


def fails(command: str) -> object:
    raise Unreachable(f"nobody answers to {command}")


def test_a_lease_is_granted_again_after_its_end() -> None:
    client, lost = Client(), Lost()
    lease = client.lease(on_lost=lost).grant()
    with pytest.raises(RuntimeError, match="lease-1 is already granted"):
        lease.grant()
    lease._lose()
    assert lost.called.wait(DEADLINE_S)
    assert lease.wait_lost(DEADLINE_S)
    client.answer = fails
    with pytest.raises(Unreachable):
        lease.grant()
    assert lease.wait_lost(0)  # of the one before
    client.answer = client.known
    assert lease.grant().id == "lease-2"
    assert lease.is_held
    assert not lease.wait_lost(0)
    assert client.asked[-1][0] == "lease 9"
    lease.release()
    ends(client.keeper)


def test_a_lease_is_granted_to_one_of_two_threads() -> None:
    client = Client()
    lease, refused = client.lease(), list[str]()

    def grant_too() -> None:
        try:
            lease.grant()
        except RuntimeError as error:
            refused.append(str(error))

    def answer(command: str) -> object:
        client.answer = client.known
        thread = threading.Thread(target=grant_too, daemon=True)
        thread.start()
        thread.join(DEADLINE_S)
        return client.known(command)

    client.answer = answer
    assert lease.grant().id == "lease-1"
    assert refused == ["this lease is being granted; make another one: kv.lease(…)"]
    lease.release()
    assert lease.grant().id == "lease-2"
    lease.release()
    ends(client.keeper)


# --- of tasks -----------------------------------------------------------------------------------


class Selector(selectors.DefaultSelector):
    """Waits for nothing: the time of its loop passes instead."""

    loop: Any = None

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None:
            self.loop.now_s += timeout
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time passes as soon as nothing is to be done."""

    def __init__(self) -> None:
        self.now_s = 100.0
        selector = Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s


class AioClient:
    """Answers each request after some time, and notes when it was sent."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.timeout = DEADLINE_S
        self.there_s, self.back_s = 1.0, 2.0
        self.asked: list[tuple[float, str, float | None]] = []
        self.keeper = AioKeeper(self, self.loop.time)
        self.granted = 0
        self.fails: Exception | None = None
        self.gone: set[str] = set()

    async def ask(self, call: Call[Result], timeout: float | None = None) -> Result:
        self.asked.append((self.loop.time(), call.command, timeout))
        await asyncio.sleep(self.there_s)
        answer = self._answer(*call.command.partition(" ")[::2])
        await asyncio.sleep(self.back_s)
        return answer  # type: ignore[return-value]

    def _answer(self, verb: str, rest: str) -> object:
        if self.fails is not None:
            raise self.fails
        if verb == "lease":
            self.granted += 1
            return f"lease-{self.granted}"
        return rest not in self.gone if verb == "renew" else 1

    def lease(self, ttl: float = 9, **more: Any) -> AioLease:
        return AioLease(self, self.keeper, ttl, now=self.loop.time, **more)


Work = Callable[[AioClient], Coroutine[Any, Any, None]]


def virtually(work: Work) -> None:
    async def run() -> None:
        await work(AioClient())

    loop = Loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def virtual(work: Work) -> Callable[[], None]:
    """Return the test that carries out `work` in virtual time."""
    return lambda: virtually(work)


@virtual
async def test_a_task_s_lease_counts_from_the_sending_of_each_request(client: AioClient) -> None:
    lease = await client.lease().grant()
    assert client.loop.time() == 103.0
    assert lease.left == 6.0
    await lease.check(timeout=5)
    assert client.asked[1] == (103.0, "renew lease-1", 5)
    assert (client.loop.time(), lease.left) == (106.0, 6.0)
    await asyncio.sleep(4.0)  # it was due at 103 s, and again a third after each sending
    assert [each[0] for each in client.asked[2:]] == [103.0, 106.0, 109.0]
    assert {each[2] for each in client.asked[2:]} == {3.0}
    await lease.release()


@pytest.mark.parametrize("failure", [ConnectionError("away"), TypeError("of this program")])
def test_task_lease_with_failing_renewals_is_lost_in_time(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """With asyncio, a lease whose renewals fail is lost when it expires."""

    async def work(client: AioClient) -> None:
        lost: list[float] = []
        lease = client.lease(on_lost=lambda: lost.append(client.loop.time()))
        await lease.grant()
        client.fails = failure
        assert await lease.wait_lost()
        assert not lease.is_held
        await asyncio.sleep(1.0)
        assert lost == [109.0]
        assert len(client.keeper) == 0
        with pytest.raises(LeaseLost):
            await lease.release()

    virtually(work)
    line = "lease-1 was not renewed because of an error in this program"
    logged = [(line, TypeError)] if isinstance(failure, TypeError) else []
    assert of_raftline(caplog) == logged


@virtual
async def test_a_task_s_lease_is_renewed_after_an_error(client: AioClient) -> None:
    lease = await client.lease().grant()
    client.fails = TypeError("of this program")
    await asyncio.sleep(3.0)
    client.fails = None
    await asyncio.sleep(7.0)
    assert lease.is_held
    await lease.release()


@virtual
async def test_whatever_a_task_s_on_lost_does_other_leases_are_renewed(client: AioClient) -> None:
    reported: list[Any] = []
    client.loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    first, second = await client.lease(on_lost=raises).grant(), await client.lease().grant()
    client.gone.add(first.id)
    assert await first.wait_lost()
    await asyncio.sleep(20.0)
    assert [type(each) for each in reported] == [ValueError]
    assert second.is_held
    assert len(client.keeper) == 1
    await second.release()


@virtual
async def test_a_task_s_lease_released_amid_its_renewal_is_not_lost(client: AioClient) -> None:
    lost: list[int] = []
    async with client.lease(on_lost=lambda: lost.append(1)) as lease:
        await asyncio.sleep(0.5)
        assert client.asked[-1][1] == "renew lease-1"  # it is under way
        waits = asyncio.ensure_future(lease.wait_lost())
        client.gone.add(lease.id)
        await lease.release()
        assert await waits is False
    await asyncio.sleep(20.0)
    assert lost == []
    assert len(client.keeper) == 0


@virtual
async def test_async_with_reports_only_the_loss_of_its_lease(client: AioClient) -> None:
    """`async with` reports the loss of its own lease, and nothing else."""

    async def use(work: Callable[[AioLease], Any], **more: Any) -> None:
        async with client.lease(**more) as lease:
            await work(lease)

    async def ends_elsewhere(lease: AioLease) -> None:
        client.gone.add(lease.id)
        assert await lease.wait_lost()

    async def loses_and_fails(lease: AioLease) -> None:
        lease._lose()
        raises()

    async def fails(lease: AioLease) -> None:
        raises()

    with pytest.raises(LeaseLost, match="lease-1 has ended"):
        await use(ends_elsewhere)
    with pytest.raises(ValueError, match="of a program"):
        await use(loses_and_fails)
    await use(AioLease.release)
    with pytest.raises(LeaseLost, match="lease-4 has ended"):
        await use(lambda lease: asyncio.sleep(9.0), keep=False)
    assert client.asked[-1][1] == "lease 9"  # it has expired
    with pytest.raises(ValueError, match="of a program"):
        await use(fails)
    assert client.asked[-1][1] == "release lease-5"


@virtual
async def test_a_task_s_grant_that_comes_too_late_was_never_held(client: AioClient) -> None:
    lost: list[int] = []
    lease = client.lease(on_lost=lambda: lost.append(1))
    with pytest.raises(RuntimeError, match="was not granted"):
        await lease.wait_lost()
    client.back_s = 8.0
    with pytest.raises(LeaseLost, match="over before its grant arrived"):
        await lease.grant()
    client.back_s = 7.0
    assert (await lease.grant()).is_held
    assert len(client.keeper) == 1
    await lease.release()
    assert lost == []


@virtual
async def test_a_task_s_lease_whose_renewals_are_cancelled_is_given_up(client: AioClient) -> None:
    lost: list[int] = []
    lease = await client.lease(on_lost=lambda: lost.append(1)).grant()
    await client.keeper.close()  # as the end of the client does
    assert await lease.wait_lost() is False
    assert not lease.is_held
    assert lost == []
    assert len(client.keeper) == 0


@virtual
async def test_the_task_renews_no_lease_that_the_program_renews(client: AioClient) -> None:
    lost = asyncio.Event()
    lease = await client.lease(keep=False, on_lost=lost.set).grant()
    await asyncio.sleep(5.9)
    assert lease.is_held
    assert await lease.wait_lost()
    assert client.loop.time() == 109.0
    assert not lease.is_held
    await lost.wait()
    assert [command for _, command, _ in client.asked] == ["lease 9"]


@virtual
async def test_a_task_s_lease_is_granted_to_one_of_two_tasks(client: AioClient) -> None:
    lease = client.lease()
    ends = await asyncio.gather(lease.grant(), lease.grant(), return_exceptions=True)
    assert [type(end) for end in ends] == [AioLease, RuntimeError]
    await lease.release()
