"""Local contrast normalization: the spotter's input (Jarrett et al. 2009, section 2.2, with box windows)."""

import cv2
import numpy as np
import numpy.typing as npt

from mnist_cnn.pictures.image_io import Pixels

Floats = npt.NDArray[np.float32]

WINDOW = 65  # pixels
FLOOR = 6.0  # grey levels added to the standard deviation: the background's own noise
LIMIT = 5.0


def local_contrast(grey: Pixels) -> Floats:
    """Subtract from each pixel the mean of the window around it, and divide by the window's standard deviation.

    Args:
        grey: uint8 [H, W].

    Returns:
        float32 [H, W], -5..5.
    """
    values = grey.astype(np.float32)
    residual = values - cv2.blur(values, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT)
    variance = cv2.blur(residual * residual, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT)
    normalized = residual / (np.sqrt(np.maximum(variance, 0)) + np.float32(FLOOR))
    return np.asarray(np.clip(normalized, -LIMIT, LIMIT), dtype=np.float32)
