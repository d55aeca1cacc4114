"""Reading architectures from transformers' model classes; see `refresh_architectures.py`."""
