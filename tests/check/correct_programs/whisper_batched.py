"""Whisper with dynamic batching: a pipeline that is loaded once, called with lists."""

from typing import Optional

import modal

image = (
    modal.Image.debian_slim(python_version="3.11")
    .apt_install("ffmpeg")
    .uv_pip_install(
        "torch==2.5.1",
        "torchaudio==2.5.1",
        "transformers==4.47.1",
        "accelerate==1.2.1",
        "datasets==3.2.0",
        "librosa==0.11.0",
        "numpy==2.2.6",
    )
    .env({"HF_HUB_CACHE": "/cache"})
)
model_cache = modal.Volume.from_name("hf-hub-cache", create_if_missing=True)
app = modal.App("example-batched-whisper", image=image, volumes={"/cache": model_cache})

MODEL_NAME = "openai/whisper-large-v3-turbo"
MODEL_REVISION = "41f01f3fe87f28c78e2fbf8b568835947dd65ed9"


@app.cls(gpu="A10G", max_containers=10, timeout=600)
class Model:
    @modal.enter()
    def load_model(self):
        import torch
        from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor, pipeline

        self.processor = AutoProcessor.from_pretrained(MODEL_NAME, revision=MODEL_REVISION)
        self.model = AutoModelForSpeechSeq2Seq.from_pretrained(
            MODEL_NAME,
            revision=MODEL_REVISION,
            torch_dtype=torch.float16,
            low_cpu_mem_usage=True,
            use_safetensors=True,
        ).to("cuda")
        self.pipeline = pipeline(
            "automatic-speech-recognition",
            model=self.model,
            tokenizer=self.processor.tokenizer,
            feature_extractor=self.processor.feature_extractor,
            torch_dtype=torch.float16,
            device="cuda",
        )

    @modal.batched(max_batch_size=64, wait_ms=1000)
    def transcribe(self, audio_samples: list[bytes]) -> list[str]:
        import time

        start = time.monotonic_ns()
        transcriptions = self.pipeline(audio_samples, batch_size=len(audio_samples))
        end = time.monotonic_ns()
        print(f"Transcribed {len(audio_samples)} samples in {round((end - start) / 1e9, 2)}s")
        return [one["text"] for one in transcriptions]


@app.function(timeout=3600)
async def transcribe_hf_dataset(dataset_name: str, limit: Optional[int] = None):
    from datasets import load_dataset

    ds = load_dataset(dataset_name, "clean", split="validation")
    samples = [row["audio"]["bytes"] for row in ds][:limit]
    async for transcription in Model().transcribe.map.aio(samples):
        yield transcription


@app.local_entrypoint()
def main(dataset_name: str = "hf-internal-testing/librispeech_asr_dummy"):
    for result in transcribe_hf_dataset.remote_gen(dataset_name):
        print(result)
