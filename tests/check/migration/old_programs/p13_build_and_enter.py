"""2024-05: build and enter on one method, enter from modal."""
from modal import App, build, enter, exit, method

app = App("build-and-enter")


@app.cls(container_idle_timeout=60)
class Model:
    name = "tiny"

    @build()
    @enter()
    def load(self):
        self.weights = [1, 2, 3]

    @method()
    def predict(self):
        return sum(self.weights)

    @exit()
    def bye(self):
        print("bye")


@app.cls()
class Second:
    @build()  # downloads
    def download(self):
        self.there = True

    @enter()
    def load(self):
        self.ready = self.there

    @method()
    def ok(self):
        return self.ready


@app.local_entrypoint()
def main():
    assert Model().predict.remote() == 6
    assert Second().ok.remote()
    print("done")
