"""2024-05: App and Stub in one import, a star of names over lines."""
from modal import (
    App,  # the new name
    Image,
    Mount,
    Stub,  # the old name
    gpu,
    web_endpoint as endpoint,
)

first = App("names-in-imports", image=Image.debian_slim())
second = Stub("names-in-imports-second")


@first.function(gpu=gpu.Any(), mounts=[Mount.from_local_file("settings.json", remote_path="/s.json")])
def f():
    return open("/s.json").read()


@second.function(gpu=gpu.Any(count=2))
def g():
    return 1


first.include(second)


@first.local_entrypoint()
def main():
    assert f.remote() == '{"size": 3}'
    assert g.remote() == 1
    print("done")
