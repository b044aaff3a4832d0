"""What is behind the digits, and what light and camera add: textures, shadows, blur, noise, compression."""

import cv2
import numpy as np

from mnist_cnn.pictures.contrast import Floats
from mnist_cnn.pictures.image_io import Pixels


def sample_background(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Sample a plain or textured background in even light: float32 [H, W], 0 black to 1 white."""
    reflectance = np.full((height, width), rng.uniform(0.55, 1.0), dtype=np.float32)
    kind = rng.random()
    if kind < 0.14:
        reflectance *= 1 - np.float32(rng.uniform(0.05, 0.4)) * guilloche(rng, height, width)
    elif kind < 0.22:
        reflectance *= 1 - np.float32(rng.uniform(0.05, 0.35)) * tiled_pattern(rng, height, width)
    elif kind < 0.4:
        amplitude, size = np.float32(rng.uniform(0.01, 0.06)), float(rng.uniform(0.6, 3))
        reflectance *= 1 + amplitude * noise_texture(rng, height, width, size)
    return reflectance


def guilloche(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Draw the wavy lines of security paper: float32 [H, W], 0..1."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    lines = np.zeros((height, width), dtype=np.float32)
    for _ in range(rng.integers(1, 4)):
        angle, pitch = rng.uniform(0, np.pi), rng.uniform(4, 14)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        wave = rng.uniform(2, 25) * np.sin(along * (2 * np.pi / rng.uniform(25, 160)) + rng.uniform(0, 7))
        distance = np.abs((across + wave + rng.normal(0, 3)) / pitch % 1 - 0.5)
        lines = np.maximum(lines, np.clip(1.5 - distance * pitch / rng.uniform(0.4, 0.9), 0, 1))
    return lines.astype(np.float32)


def tiled_pattern(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Repeat a small random pattern: float32 [H, W], 0..1."""
    tile = rng.random((int(rng.integers(3, 11)), int(rng.integers(3, 11))), dtype=np.float32)
    if rng.random() < 0.6:
        tile = (tile > rng.uniform(0.4, 0.85)).astype(np.float32)
    repeats = (-(-height // tile.shape[0]), -(-width // tile.shape[1]))
    pattern = np.tile(tile, repeats)[:height, :width]
    if rng.random() < 0.5:
        pattern = pattern * rng.random((height, width), dtype=np.float32)
    return np.asarray(cv2.GaussianBlur(pattern, (0, 0), float(rng.uniform(0.3, 1))), dtype=np.float32)


def noise_texture(rng: np.random.Generator, height: int, width: int, size: float) -> Floats:
    """Draw noise whose grains are `size` pixels large: float32 [H, W], mean 0, standard deviation about 1."""
    small = rng.standard_normal((int(height / size) + 2, int(width / size) + 2), dtype=np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def sample_illumination(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Sample uneven light, the edge of a shadow and the edge of the paper: float32 [H, W], 0.1..1.5."""
    light = np.ones((height, width), dtype=np.float32)
    if rng.random() < 0.5:
        corners = (1 + rng.normal(0, rng.uniform(0, 0.25), (3, 3))).astype(np.float32)
        light *= cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.12:
        light *= edge(rng, (height, width), rng.uniform(0, 0.9), rng.uniform(0.3, 0.8), rng.uniform(0.5, 12))
    if rng.random() < 0.1:
        light *= edge(rng, (height, width), rng.uniform(0.85, 1.05), rng.uniform(0.1, 0.8), rng.uniform(0.4, 2))
    return np.clip(light, 0.1, 1.5)


def edge(rng: np.random.Generator, shape: tuple[int, int], position: float, brightness: float, blur: float) -> Floats:
    """Darken what lies beyond a straight edge.

    Args:
        rng: random numbers.
        shape: height and width.
        position: of the edge, from 0 at the centre to 1 at the border.
        brightness: beyond the edge, 0..1.
        blur: width of the edge, in pixels.

    Returns:
        float32 [H, W], `brightness` to 1.
    """
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.normal(0, 0.15)
    across = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle)
    border = abs(width / 2 * np.cos(angle)) + abs(height / 2 * np.sin(angle))
    beyond = np.clip((across - position * border) / np.float32(blur) + 0.5, 0, 1)
    return np.asarray(1 - (1 - brightness) * beyond, dtype=np.float32)


def photograph(rng: np.random.Generator, scene: Floats) -> Pixels:
    """Add what cameras and files add to a scene, float32 [H, W], 0..1; some become negatives: uint8 [H, W]."""
    if rng.random() < 0.5:
        scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), float(rng.uniform(0.3, 1.2))), dtype=np.float32)
    if rng.random() < 0.12:
        scene = upsampled(rng, scene)
    gain = rng.uniform(0.75, 1.0) / max(float(scene.max()), 0.3) if rng.random() < 0.7 else 1.0
    scene = scene * np.float32(gain) + np.float32(rng.uniform(0, 0.12))
    if rng.random() < 0.6:
        scene = scene + np.float32(rng.uniform(0.003, 0.04)) * rng.standard_normal(scene.shape, dtype=np.float32)
    if rng.random() < 0.28:
        scene = 1 - scene
    return digitize(rng, np.asarray(np.clip(scene * 255, 0, 255), dtype=np.uint8))


def upsampled(rng: np.random.Generator, scene: Floats) -> Floats:
    """Reduce the resolution of a scene, float32 [H, W], at the same size, as if it were a smaller picture enlarged."""
    height, width = scene.shape
    factor = rng.uniform(1.2, 2.6)
    small = cv2.resize(scene, (max(int(width / factor), 4), max(int(height / factor), 4)), interpolation=cv2.INTER_AREA)
    method = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, (width, height), interpolation=method), dtype=np.float32)


def digitize(rng: np.random.Generator, grey: Pixels) -> Pixels:
    """Compress some pictures, uint8 [H, W], as JPEG, and binarize a few."""
    if rng.random() < 0.25:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 95))]
        grey = np.asarray(cv2.imdecode(cv2.imencode(".jpg", grey, quality)[1], cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    if rng.random() < 0.05:
        grey = np.asarray(cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1], dtype=np.uint8)
    return grey
