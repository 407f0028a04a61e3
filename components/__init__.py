"""The stages, and what they are made of. Nothing here knows Prefect."""

import atexit
import gc

# Python's last act is to look for garbage among all objects, a million of PyTorch's, transformers' and DeepSpeed's: one
# to five seconds at the end of every stage, for memory that the process gives back a moment later
atexit.register(gc.freeze)
