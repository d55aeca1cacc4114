"""2024-07: constructors with arguments."""
import modal

app = modal.App("constructor-parameters")


@app.cls()
class Greeter:
    def __init__(self, greeting: str, times: int = 2) -> None:
        self.greeting = greeting
        self.times = times

    @modal.method()
    def greet(self, name):
        return " ".join([f"{self.greeting} {name}"] * self.times)


@app.cls()
class Loader:
    """Loads when made."""

    def __init__(self, model_name="tiny", shout: bool = False):
        # the name comes first
        self.model_name = model_name
        self.shout = shout
        self.text = model_name.upper() if shout else model_name

    @modal.method()
    def get(self):
        return self.text


@app.cls()
class NoArguments:
    def __init__(self):
        self.value = 3

    @modal.method()
    def get(self):
        return self.value


@app.local_entrypoint()
def main():
    assert Greeter("hi").greet.remote("you") == "hi you hi you"
    assert Greeter("yo", times=1).greet.remote("you") == "yo you"
    assert Loader("big", True).get.remote() == "BIG"
    assert NoArguments().get.remote() == 3
    print("done")
