"""2023-11: functions registered by calls, an option under both of its names."""
from modal import Secret, Stub

stub = Stub("registered-by-calls")


def double(x):
    return 2 * x


doubled = stub.function(
    secret=Secret.from_dict({"A": "b"}),
    timeout=60,
    allow_concurrent_inputs=32,
)(double)


@stub.function(container_idle_timeout=60, scaledown_window=30)
def f(x):
    return x


@stub.local_entrypoint()
def main():
    assert f.remote(2) == 2
    assert doubled.remote(2) == 4
    print("done")
