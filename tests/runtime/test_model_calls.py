"""Calls of a service's methods: their threads, their turns and their errors."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from modalkit.declare.batches import Batch
from modalkit.declare.routes import Route, endpoint
from modalkit.runtime.custom_host import CustomHost


class Service:
    """A model that is not safe for threads, and notices."""

    def load(self) -> None:
        self.own = threading.local()
        self.own.steps = ["load"]
        self.busy = threading.Lock()
        self.meeting = threading.Barrier(2, timeout=20)
        self.bell = threading.Event()

    def wake(self) -> None:
        self.own.steps.append("wake")

    def warm_up(self) -> None:
        self.own.steps.append("warm_up")

    def unload(self) -> None:
        self.last_steps = [*self.own.steps, "unload"]

    @endpoint("/steps")
    def steps(self) -> list[str]:
        return self.own.steps

    @endpoint("/alone")
    def alone(self, number: int) -> int:
        return self.hold(number)

    @endpoint("/batched", batch=Batch(2))
    def batched(self, numbers: list[int]) -> list[int]:
        return [self.hold(number) for number in numbers]

    def hold(self, number: int) -> int:
        if not self.busy.acquire(blocking=False):
            msg = "two threads in one model"
            raise RuntimeError(msg)
        time.sleep(0.005)
        self.busy.release()
        return number

    @endpoint("/meet", parallel=True)
    def meet(self) -> bool:
        self.meeting.wait()
        return True

    @endpoint("/wait")
    def wait(self) -> bool:
        return self.bell.wait(timeout=20)

    @endpoint("/ring")
    async def ring(self) -> None:
        self.bell.set()

    @endpoint("/ends")
    def ends(self, how: int) -> int:
        raise (StopIteration, SystemExit)[how]

    @endpoint("/ends-batched", batch=Batch(4))
    def ends_batched(self, hows: list[int]) -> list[int]:
        raise (StopIteration, SystemExit)[hows[0]]

    @endpoint("/ends-parallel", parallel=True)
    def ends_parallel(self, how: int) -> int:
        raise (StopIteration, SystemExit)[how]


ROUTES = {name: value for name, value in vars(Service).items() if isinstance(value, Route)}


def using(scenario):
    """Start the service, run a scenario that must not hang with its calls, stop it."""

    async def bounded():
        service = Service()
        host = CustomHost(service, ROUTES)
        async with asyncio.timeout(30):
            await host.start()
            outcome = await scenario(host.calls)
            await host.stop()
        return service, outcome

    return asyncio.run(bounded())


def test_a_service_is_loaded_warmed_up_used_and_unloaded_in_one_thread():
    """What load leaves in its thread, as PyTorch does, is there for the methods and unload."""
    service, steps = using(lambda calls: calls["steps"]())
    assert steps == ["load", "wake", "warm_up"]
    assert service.last_steps == ["load", "wake", "warm_up", "unload"]


def test_plain_methods_of_an_instance_take_turns():
    """However many requests come at once, batched or not, one plain method runs at a time."""

    async def scenario(calls):
        plain = [calls["alone"](number) for number in range(20)]
        batched = [calls["batched"](number) for number in range(20)]
        return await asyncio.gather(*plain, *batched)

    assert using(scenario)[1] == [*range(20), *range(20)]


def test_a_caller_that_leaves_does_not_let_the_next_one_in_early():
    """A cancelled call still has the model to itself until it ends."""

    async def scenario(calls):
        gone = asyncio.create_task(calls["alone"](1))
        await asyncio.sleep(0.001)
        gone.cancel()
        return await asyncio.gather(*(calls["alone"](number) for number in range(5)))

    assert using(scenario)[1] == [0, 1, 2, 3, 4]


def test_parallel_methods_run_at_the_same_time():
    """Two calls of a method declared parallel can wait for each other."""

    async def scenario(calls):
        return await asyncio.gather(calls["meet"](), calls["meet"]())

    assert using(scenario)[1] == [True, True]


def test_async_methods_go_on_beside_a_plain_one():
    """A plain method that blocks holds up no async method."""

    async def scenario(calls):
        waiting = asyncio.create_task(calls["wait"]())
        await asyncio.sleep(0)
        await calls["ring"]()
        return await waiting

    assert using(scenario)[1] is True


@pytest.mark.parametrize("name", ["ends", "ends_batched", "ends_parallel"])
@pytest.mark.parametrize("how", [0, 1], ids=["StopIteration", "SystemExit"])
def test_what_would_be_lost_in_a_thread_is_an_error(name, how):
    """StopIteration and sys.exit in a plain method fail that call, and the service goes on."""

    async def scenario(calls):
        with pytest.raises(RuntimeError, match=rf"Service\.{name} raised S\w+\(\)"):
            await calls[name](how)
        return await calls["alone"](7)

    assert using(scenario)[1] == 7


def test_a_batched_route_takes_one_request_by_place_or_name():
    """A caller passes one request, as the list's parameter is called or without a name."""

    async def scenario(calls):
        return await asyncio.gather(calls["batched"](3), calls["batched"](numbers=4))

    assert using(scenario)[1] == [3, 4]


@pytest.mark.parametrize(
    ("arguments", "keywords", "shown"),
    [
        ((), {}, "()"),
        (([1], 2), {}, "([1], 2)"),
        ((1,), {"numbers": 2}, "(1, numbers=...)"),
        ((), {"number": 2}, "(number=...)"),
    ],
)
def test_wrong_arguments_of_a_batched_route_name_it(arguments, keywords, shown):
    """Anything but one request is a TypeError about the route, not about a queue."""

    async def scenario(calls):
        await calls["batched"](*arguments, **keywords)

    with pytest.raises(TypeError) as caught:
        using(scenario)
    assert "Service.batched takes one request" in str(caught.value)
    assert shown in str(caught.value)
