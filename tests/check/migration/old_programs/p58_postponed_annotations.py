"""2023-11: a constructor in a file whose annotations are texts, and a comment behind what moves."""
from __future__ import annotations

from pathlib import Path
from typing import Optional

from modal import Stub, method

stub = Stub("postponed-annotations")


class Answer:
    text: Optional[str] = None


@stub.cls(
    container_idle_timeout=30,  # seconds
    allow_concurrent_inputs=4,  # the library is thread-safe
)
class Model:
    def __init__(self, size: int, name: str = "small") -> None:
        self.size = size
        self.name = name

    @method()
    def ask(self, words: list[str], folder: Path | None = None) -> Answer:
        answer = Answer()
        answer.text = f"{self.name} {self.size} {len(words)}"
        return answer


@stub.local_entrypoint()
def main():
    assert Model(3).ask.remote(["a", "b"]).text == "small 3 2"
    print("done")
