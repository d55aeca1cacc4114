"""2023-12: modal and its classes under names of their own, hooks that share a method's name."""
import modal as m
from modal import Stub as S, Volume as Disk, enter, exit as leaving, method as remote_method

my_stub = S("names-under-other-names")
disk = Disk.persisted("names-under-other-names")


@my_stub.cls(volumes={"/disk": disk}, container_idle_timeout=60, keep_warm=False)
class Counter:
    def __enter__(self):
        self.count = 1

    @enter()
    def more(self):
        self.count += 1

    @remote_method()
    def get(self):
        return self.count

    @leaving()
    def stop(self, exc_type, exc_value, traceback):
        self.count = 0


@my_stub.function(gpu=m.gpu.T4(), secret=m.Secret.from_dict({"GREETING": "hello"}))
def greet():
    import os

    return os.environ["GREETING"]


@my_stub.local_entrypoint()
def main():
    assert Counter().get.remote() == 2
    assert greet.remote() == "hello"
    assert S is not None
    print("done")
