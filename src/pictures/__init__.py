"""Any picture file becomes grey pixels, digits found in them, and 28x28 images in MNIST's style.

May import `common`, and neither PyTorch nor a trained network.
"""
