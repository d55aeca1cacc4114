"""2024-02: mounts for every function of an app, built in a chain."""
import modal

image = modal.Image.debian_slim()
stub = modal.Stub(
    "mounts-on-the-app",
    image=image,
    mounts=[modal.Mount.from_local_dir("data", remote_path="/d").add_local_file("settings.json", "/s.json")],
)


@stub.function()
def a():
    return open("/d/hello.txt").read()


@stub.function(image=image.env({"X": "y"}))
def b():
    return open("/s.json").read()


@stub.local_entrypoint()
def main():
    assert a.remote() + b.remote() == 'hello{"size": 3}'
    print("done")
