"""Making a lock: every service of a file, resolved once; each module is one thing that is asked.

folders     files of a model folder, hashed in parallel
packages    the whole tree of Python packages, by uv or pip
registry    what the tag of an image means
beside      LoRA adapters and draft models: commit and files of each
services    one service from its declarations to what is locked
file        all services of a file; what changed; whether a lock is stale
"""
