"""ComfyUI behind an API: the interface as a web server, workflows through a class."""

import json
import subprocess
import uuid
from pathlib import Path

import modal

image = (
    modal.Image.debian_slim(python_version="3.11")
    .apt_install("git")
    .uv_pip_install("fastapi[standard]==0.115.4", "comfy-cli==1.5.3", "requests==2.32.5")
    .run_commands("comfy --skip-prompt install --fast-deps --nvidia --version 0.3.71")
)


def hf_download():
    from huggingface_hub import hf_hub_download

    flux_model = hf_hub_download(
        repo_id="Comfy-Org/flux1-schnell",
        filename="flux1-schnell-fp8.safetensors",
        revision="f2808ab17fe9ff81dcf89ed0301cf644c281be0a",
        cache_dir="/cache",
    )
    subprocess.run(
        f"ln -s {flux_model} /root/comfy/ComfyUI/models/checkpoints/flux1-schnell-fp8.safetensors",
        shell=True,
        check=True,
    )


vol = modal.Volume.from_name("hf-hub-cache", create_if_missing=True)

image = (
    image.uv_pip_install("huggingface-hub==0.36.0")
    .env({"HF_XET_HIGH_PERFORMANCE": "1"})
    .run_function(hf_download, volumes={"/cache": vol})
    .add_local_file(Path(__file__).parent / "workflow_api.json", "/root/workflow_api.json")
)

app = modal.App(name="example-comfyapp", image=image)


@app.function(max_containers=1, gpu="L40S", volumes={"/cache": vol})
@modal.concurrent(max_inputs=10)
@modal.web_server(8000, startup_timeout=60, requires_proxy_auth=True)
def ui():
    subprocess.Popen("comfy launch -- --listen 0.0.0.0 --port 8000", shell=True)


@app.cls(scaledown_window=300, gpu="L40S", max_containers=5, volumes={"/cache": vol})
@modal.concurrent(max_inputs=5)
class ComfyUI:
    port: int = 8000

    @modal.enter()
    def launch_comfy_background(self):
        subprocess.run(f"comfy launch --background -- --port {self.port}", shell=True, check=True)

    @modal.method()
    def infer(self, workflow_path: str = "/root/workflow_api.json"):
        self.poll_server_health()
        cmd = f"comfy run --workflow {workflow_path} --wait --timeout 1200 --verbose"
        subprocess.run(cmd, shell=True, check=True)
        output_dir = "/root/comfy/ComfyUI/output"
        workflow = json.loads(Path(workflow_path).read_text())
        prefix = [
            node.get("inputs")
            for node in workflow.values()
            if node.get("class_type") == "SaveImage"
        ][0]["filename_prefix"]
        for f in Path(output_dir).iterdir():
            if f.name.startswith(prefix):
                return f.read_bytes()

    @modal.fastapi_endpoint(method="POST", requires_proxy_auth=True)
    def api(self, item: dict):
        from fastapi import Response

        workflow_data = json.loads(Path("/root/workflow_api.json").read_text())
        workflow_data["6"]["inputs"]["text"] = item["prompt"]
        client_id = uuid.uuid4().hex
        workflow_data["9"]["inputs"]["filename_prefix"] = client_id
        new_workflow_file = f"/tmp/{client_id}.json"
        json.dump(workflow_data, Path(new_workflow_file).open("w"))
        return Response(self.infer.local(new_workflow_file), media_type="image/jpeg")

    def poll_server_health(self):
        import socket
        import urllib.error
        import urllib.request

        try:
            req = urllib.request.Request(f"http://127.0.0.1:{self.port}/system_stats")
            urllib.request.urlopen(req, timeout=5)
        except (socket.timeout, urllib.error.URLError):
            modal.experimental.stop_fetching_inputs()
            raise Exception("ComfyUI server is not healthy, stopping container")
