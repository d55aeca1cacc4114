"""torchrun over two nodes of eight GPUs."""

import modal
import modal.experimental

image = (
    modal.Image.from_registry("nvidia/cuda:12.8.0-devel-ubuntu22.04", add_python="3.12")
    .apt_install("libibverbs-dev", "libibverbs1")
    .uv_pip_install("torch==2.7.1", "numpy==2.2.6", "wandb==0.21.0")
    .add_local_dir("nanogpt", "/root/nanogpt")
)
app = modal.App("multinode", image=image)
checkpoints = modal.Volume.from_name("nanogpt-checkpoints", create_if_missing=True)

N_NODES, N_PROC_PER_NODE = 2, 8


@app.function(
    gpu=f"H100:{N_PROC_PER_NODE}",
    volumes={"/checkpoints": checkpoints},
    secrets=[modal.Secret.from_name("wandb-secret")],
    timeout=24 * 60 * 60,
    retries=modal.Retries(max_retries=5, initial_delay=0.0),
)
@modal.clustered(size=N_NODES, rdma=True)
def train_multi_node(steps: int = 10_000):
    from torch.distributed.run import parse_args, run

    cluster_info = modal.experimental.get_cluster_info()
    args = [
        f"--nnodes={N_NODES}",
        f"--node-rank={cluster_info.rank}",
        f"--master-addr={cluster_info.container_ips[0]}",
        f"--nproc-per-node={N_PROC_PER_NODE}",
        "--master-port=1234",
        "/root/nanogpt/train.py",
        f"--max_iters={steps}",
        "--out_dir=/checkpoints",
    ]
    run(parse_args(args))


@app.local_entrypoint()
def main(steps: int = 10_000):
    train_multi_node.remote(steps)
