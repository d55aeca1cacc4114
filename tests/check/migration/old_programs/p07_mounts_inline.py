"""2023-11: mounts written where they are used."""
import modal

stub = modal.Stub("mounts-inline")
image = modal.Image.debian_slim()


@stub.function(
    image=image,
    mounts=[
        modal.Mount.from_local_dir("data", remote_path="/root/data"),
        modal.Mount.from_local_file("settings.json", remote_path="/root/settings.json"),
    ],
)
def read():
    with open("/root/data/hello.txt") as f, open("/root/settings.json") as g:
        return f.read() + g.read()


@stub.function(mounts=[modal.Mount.from_local_file(local_path="settings.json", remote_path="/etc/app.json")])
def settings():
    return open("/etc/app.json").read()


@stub.local_entrypoint()
def main():
    assert read.remote() == 'hello{"size": 3}'
    assert settings.remote() == '{"size": 3}'
    print("done")
