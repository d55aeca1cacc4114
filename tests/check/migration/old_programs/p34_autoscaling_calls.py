"""2025-06: the autoscaler changed by calls."""
import modal

app = modal.App("autoscaling-calls")


@app.function(_experimental_buffer_containers=1, allow_cross_region_volumes=True)
def f(x):
    return x


@app.function(max_inputs=1)
def once(x):
    return x


@app.local_entrypoint()
def main():
    f.update_autoscaler(min_containers=0, max_containers=3)
    f.keep_warm(0)
    assert f.remote(1) + once.remote(1) == 2
    print("done")
