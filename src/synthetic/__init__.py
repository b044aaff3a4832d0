"""Draws pages of digits as training examples of the spotter, each reproducible from its seed and index.

May import `common` and `pictures`, but not PyTorch.
"""
