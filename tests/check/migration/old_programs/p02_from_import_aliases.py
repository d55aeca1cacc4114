# 2024-03: everything from modal, under other names
from modal import Stub as ModalStub, Image as Img, method as m, gpu as GPU

stub = ModalStub(name="aliased")
img = Img.debian_slim()


@stub.cls(image=img, gpu=GPU.T4(), container_idle_timeout=60)
class Adder:
    def __enter__(self):
        self.base = 10

    @m()
    def add(self, x):
        return self.base + x


@stub.local_entrypoint()
def main():
    assert Adder().add.remote(1) == 11
    print("done")
