"""Code of a language model run in a Sandbox; the model is somebody else's, asked over HTTP."""

import os

import modal

image = modal.Image.debian_slim(python_version="3.12").uv_pip_install("openai==1.99.9")
sandbox_image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(
    "numpy==2.2.6", "pandas==2.2.3"
)
app = modal.App("code-agent", image=image)


@app.function(
    secrets=[modal.Secret.from_name("openai", required_keys=["OPENAI_API_KEY"])],
    timeout=900,
    max_containers=20,
)
async def solve(question: str) -> str:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key=os.environ["OPENAI_API_KEY"])
    answer = await client.chat.completions.create(
        model="gpt-5-mini",
        messages=[{"role": "user", "content": f"Answer with Python code alone: {question}"}],
    )
    code = answer.choices[0].message.content or ""
    agent = await modal.App.lookup.aio("code-agent-sandboxes", create_if_missing=True)
    sandbox = await modal.Sandbox.create.aio(
        app=agent, image=sandbox_image, timeout=120, block_network=True
    )
    process = await sandbox.exec.aio("python", "-c", code, timeout=60)
    out = await process.stdout.read.aio()
    await sandbox.terminate.aio()
    return out


@app.local_entrypoint()
def main(question: str = "What is the 10th Fibonacci number?"):
    print(solve.remote(question))
