"""LoRA fine-tuning on one H100: checkpoints on a Volume, resumed after a preemption."""

import pathlib
from dataclasses import dataclass

import modal

app = modal.App("example-lora-finetune")

train_image = (
    modal.Image.debian_slim(python_version="3.11")
    .uv_pip_install(
        "accelerate==1.9.0",
        "datasets==3.6.0",
        "huggingface-hub==0.34.2",
        "peft==0.16.0",
        "torch==2.7.1",
        "transformers==4.54.0",
        "trl==0.19.1",
        "wandb==0.21.0",
    )
    .env({"HF_HOME": "/model_cache"})
)

with train_image.imports():
    import datasets
    import torch
    import wandb
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

model_cache_volume = modal.Volume.from_name("model-cache", create_if_missing=True)
checkpoint_volume = modal.Volume.from_name("checkpoints", create_if_missing=True)

GPU_TYPE = "H100"
TIMEOUT_HOURS = 6
MAX_RETRIES = 3
REVISION = "9213176726f574b556790deb65791e0c5aa438b6"


@dataclass
class TrainingConfig:
    model_name: str = "Qwen/Qwen3-14B"
    lora_r: int = 16
    max_steps: int = 1000
    save_steps: int = 100
    learning_rate: float = 2e-4
    experiment_name: str = "run"


def load_or_cache_model(config):
    tokenizer = AutoTokenizer.from_pretrained(config.model_name, revision=REVISION)
    model = AutoModelForCausalLM.from_pretrained(
        config.model_name, revision=REVISION, torch_dtype=torch.bfloat16, device_map="cuda"
    )
    return model, tokenizer


def check_for_existing_checkpoint(paths):
    checkpoints = sorted(paths.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    return str(checkpoints[-1]) if checkpoints else None


@app.function(
    image=train_image,
    gpu=GPU_TYPE,
    volumes={"/model_cache": model_cache_volume, "/checkpoints": checkpoint_volume},
    secrets=[modal.Secret.from_name("wandb-secret", required_keys=["WANDB_API_KEY"])],
    timeout=TIMEOUT_HOURS * 60 * 60,
    retries=modal.Retries(initial_delay=0.0, max_retries=MAX_RETRIES),
    single_use_containers=True,
)
def finetune(config: TrainingConfig):
    wandb.init(project="finetune", name=config.experiment_name, config=config.__dict__)
    model, tokenizer = load_or_cache_model(config)
    model = get_peft_model(model, LoraConfig(r=config.lora_r, task_type="CAUSAL_LM"))
    dataset = datasets.load_dataset("mlabonne/FineTome-100k", split="train")
    folder = pathlib.Path("/checkpoints") / config.experiment_name
    folder.mkdir(parents=True, exist_ok=True)
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=dataset,
        args=SFTConfig(
            output_dir=str(folder),
            max_steps=config.max_steps,
            save_steps=config.save_steps,
            learning_rate=config.learning_rate,
            report_to="wandb",
        ),
    )
    trainer.train(resume_from_checkpoint=check_for_existing_checkpoint(folder))
    model.save_pretrained(folder / "final")
    checkpoint_volume.commit()
    return config.experiment_name


@app.local_entrypoint()
def main(max_steps: int = 1000, experiment_name: str = "run"):
    config = TrainingConfig(max_steps=max_steps, experiment_name=experiment_name)
    print(f"trained {finetune.remote(config)}")
