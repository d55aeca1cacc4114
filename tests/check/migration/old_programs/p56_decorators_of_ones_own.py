"""2024-01: functions that register with what every function of the project has."""
import modal
from modal import Image, Mount, Stub, gpu

stub = Stub("decorators-of-ones-own")
image = Image.debian_slim()
local_mounts = [Mount.from_local_file("settings.json", remote_path="/root/app.json")]


def function_dec(**extras):
    return stub.function(
        image=image,
        timeout=600,
        _allow_background_volume_commits=True,
        mounts=local_mounts,
        container_idle_timeout=120,  # two minutes
        **extras,
    )


def cls_dec(**extras):
    return stub.cls(
        image=image,
        # starts sooner
        checkpointing_enabled=False,
        **extras,
    )


@function_dec(keep_warm=0, concurrency_limit=2)
def settings():
    return open("/root/app.json").read()


@cls_dec(gpu=gpu.T4(count=1), allow_concurrent_inputs=10)
class Model:
    def __enter__(self):
        self.loaded = 5

    @modal.method()
    def predict(self):
        return self.loaded


@stub.local_entrypoint()
def main():
    assert settings.call().startswith("{")
    assert Model().predict.call() == 5
    print("done")
