"""2024: options put together step by step, by functions, tables and classes."""
import functools
import os

import modal

app = modal.App("options-put-together")
BASE = {"cpu": 0.5}
kw = {"memory": 256}
kw["container_idle_timeout"] = 60
kw.update(concurrency_limit=2)
kw |= {"keep_warm": 0}
kw.setdefault("interactive", False)


def options(size):
    opts = dict(BASE, container_idle_timeout=30)
    if size > 1:
        opts["concurrency_limit"] = size
    return opts


def on_cpu(**more):
    return app.function(memory=512, **more)


PRESETS = {
    "small": {"container_idle_timeout": 20, "memory": 128},
    "large": {"container_idle_timeout": 200, "memory": 1024},
}
SIZE = os.environ.get("SIZE", "small")
if SIZE == "small":
    extra = {"keep_warm": 0}
else:
    extra = {"keep_warm": 1, "concurrency_limit": 4}


class Config:
    function_options = {"concurrency_limit": 3, "keep_warm": 0}


batch_function = functools.partial(app.function, keep_warm=0, allow_concurrent_inputs=3)


@app.function(**kw)
def updated(x):
    return x, kw["keep_warm"], kw.get("container_idle_timeout", 5)


@app.function(**{**BASE, "keep_warm": 0})
def nested(x):
    return x


@batch_function(timeout=60)
def partly(x):
    return x


@app.function(**options(2))
def returned(x):
    return x


@on_cpu(keep_warm=0, allow_concurrent_inputs=2)
def passed(x):
    return x


@app.function(**PRESETS[SIZE])
def chosen(x):
    return x


@app.function(**extra)
def conditional(x):
    return x


@app.function(**Config.function_options)
def of_a_class(x):
    return x


@app.function(**(BASE | {"container_idle_timeout": 15}))
def united(x):
    return x


@app.local_entrypoint()
def main():
    assert updated.remote(1) == (1, 0, 60)
    for f in (nested, partly, returned, passed, chosen, conditional, of_a_class, united):
        assert f.remote(7) == 7
    print("done")
