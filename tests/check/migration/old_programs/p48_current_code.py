"""2026: current code, which stays as it is."""
import modal

app = modal.App("current-code")
image = modal.Image.debian_slim().add_local_dir("data", remote_path="/data")


@app.function(image=image, min_containers=0, max_containers=2, scaledown_window=60)
@modal.concurrent(max_inputs=4)
def f(x):
    return open("/data/hello.txt").read() * x


@app.cls(gpu="T4")
class Model:
    name: str = modal.parameter(default="m")

    @modal.enter()
    def load(self):
        self.loaded = self.name

    @modal.method()
    def get(self):
        return self.loaded


@app.local_entrypoint()
def main():
    assert f.remote(2) == "hellohello"
    assert Model(name="n").get.remote() == "n"
    print("done")
