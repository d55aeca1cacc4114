"""How `make_models.py` makes its tiny chat model: the text, the training, the progress line."""
