"""2023: Stub, call, plain calls, a main block."""
import modal

stub = modal.Stub("hello-2023")


@stub.function
def square(x):
    return x ** 2


@stub.function()
def count(n):
    for i in range(n):
        yield i


@stub.local_entrypoint
def main():
    assert square.call(4) == 16
    assert list(count.call(3)) == [0, 1, 2]
    assert list(square.map([1, 2, 3])) == [1, 4, 9]
    assert square(5) == 25
    print("done")
