"""Functions whose containers never get ready."""

import time

import modal

app = modal.App("failing")


@app.cls()
class RaisesInEnter:
    @modal.enter()
    def load(self) -> None:
        msg = "the weights are missing"
        raise FileNotFoundError(msg)

    @modal.method()
    def call(self) -> None: ...


@app.cls(startup_timeout=1)
class NeverReady:
    @modal.enter()
    def load(self) -> None:
        time.sleep(60)

    @modal.method()
    def call(self) -> None: ...


@app.function(secrets=[modal.Secret.from_dict({})], serialized=True)
def needs_nothing() -> str:
    return "fine"
