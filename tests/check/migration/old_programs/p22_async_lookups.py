"""2024: the async names."""
import modal

app = modal.App("async-lookups")


@app.function(keep_warm=0)
async def f(x):
    return x


@app.function()
async def g():
    d = await modal.Dict.lookup.aio("async-dict", create_if_missing=True)
    await d.put.aio("k", 4)
    return await d.get.aio("k")


@app.local_entrypoint()
async def main():
    assert await f.remote.aio(2) == 2
    assert await g.remote.aio() == 4
    print("done")
