"""2023: a mount copied into an image, and the context of a Dockerfile; unsafe for the latter."""
# modalkit-test: unsafe
import modal

mount = modal.Mount.from_local_dir("data", remote_path="/")
image = modal.Image.debian_slim().copy_mount(mount, "/root/data")
second = modal.Image.debian_slim().dockerfile_commands(
    ["COPY settings.json /root/settings.json"],
    context_mount=modal.Mount.from_local_file("settings.json", remote_path="/settings.json"),
)
stub = modal.Stub("copy-mount")


@stub.function(image=image)
def f():
    return open("/root/data/hello.txt").read()


@stub.function(image=second)
def g():
    return open("/root/settings.json").read()


@stub.local_entrypoint()
def main():
    assert f.remote() == "hello"
    assert g.remote() == '{"size": 3}'
    print("done")
