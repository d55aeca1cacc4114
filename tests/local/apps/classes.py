"""Classes: life cycle, parameters, kinds of methods."""

import asyncio

import modal

app = modal.App("classes")
events = modal.Queue.from_name("events", create_if_missing=True)


@app.cls(scaledown_window=2)
class Greeter:
    name: str = modal.parameter(default="nobody")
    times: int = modal.parameter(default=1)

    @modal.enter()
    def load(self) -> None:
        self.greeting = "hello"

    @modal.enter()
    async def load_more(self) -> None:
        await asyncio.sleep(0)
        self.mark = "!"

    @modal.exit()
    def leave(self) -> None:
        events.put(f"{self.name} left", partition=self.name)

    @modal.method()
    def greet(self) -> str:
        return " ".join([self.greeting, self.name] * self.times) + self.mark

    @modal.method()
    async def agreet(self) -> str:
        return self.greeting + self.mark

    @modal.method()
    def letters(self):
        yield from self.name

    @modal.method()
    async def aletters(self):
        for letter in self.name:
            yield letter

    @modal.method()
    def boast(self) -> str:
        return self.greet.local() + Greeter(name="other").greet.remote()


@app.cls(max_containers=1)
@modal.concurrent(max_inputs=4)
class Table:
    @modal.enter()
    def set_up(self) -> None:
        self.here = 0

    @modal.method()
    async def sit(self, number: int) -> int:
        """Return only once four sit at the same table."""
        self.here += 1
        while self.here < 4:  # noqa: ASYNC110 - an event would belong to one loop
            await asyncio.sleep(0.01)
        return number


@app.cls(max_containers=1)
class Bundler:
    suffix: str = modal.parameter(default="")

    @modal.batched(max_batch_size=3, wait_ms=300)
    def bundle(self, words: list[str]) -> list[str]:
        return [f"{word}{self.suffix} of {len(words)}" for word in words]


@app.cls(scaledown_window=2)
class AsyncLeaver:
    @modal.enter()
    async def arrive(self) -> None:
        await asyncio.sleep(0)

    @modal.exit()
    async def leave(self) -> None:
        await events.put.aio("left", partition="async-leaver")

    @modal.method()
    def greet(self) -> str:
        return "hello"
