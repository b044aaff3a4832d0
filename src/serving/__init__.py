"""Pictures in, digits out, over HTTP: the REST service and the page behind which it stands.

May import everything below `main.py` and `cli.py`, but not `experiments`, and no PyTorch.
"""
