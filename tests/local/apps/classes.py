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
