"""Random weights of mobilenet_v3_small in a safetensors file, so that no test needs a download.

Source: shapes of Howard et al. 2019 (arXiv:1905.02244), table 2, with torchvision's tensor names.
"""
import array
import json
import math
import os
import random
import struct
import sys

NAME = "mobilenet_v3_small"
# in, kernel, expanded, out, squeeze-and-excitation
_BLOCKS = (
    (16, 3, 16, 16, True), (16, 3, 72, 24, False), (24, 3, 88, 24, False), (24, 5, 96, 40, True),
    (40, 5, 240, 40, True), (40, 5, 240, 40, True), (40, 5, 120, 48, True), (48, 5, 144, 48, True),
    (48, 5, 288, 96, True), (96, 5, 576, 96, True), (96, 5, 576, 96, True))


def _conv_norm(path, out, fan_in, kernel):
    yield f"{path}.0.weight", (out, fan_in, kernel, kernel)
    for part in ("bias", "running_mean", "running_var", "weight"):
        yield f"{path}.1.{part}", (out,)


def _squeeze(path, channels):
    squeezed = max(8, (channels // 4 + 4) // 8 * 8)  # torchvision _make_divisible; never under 90 % for these
    for layer, out, fan_in in (("fc1", squeezed, channels), ("fc2", channels, squeezed)):
        yield f"{path}.{layer}.bias", (out,)
        yield f"{path}.{layer}.weight", (out, fan_in, 1, 1)


def shapes():
    """Name and shape of every tensor of the stages."""
    yield from _conv_norm("features.0", 16, 3, 3)
    for index, (width, kernel, expanded, out, excites) in enumerate(_BLOCKS, 1):
        layer = iter(f"features.{index}.block.{i}" for i in range(4))
        if expanded != width:
            yield from _conv_norm(next(layer), expanded, width, 1)
        yield from _conv_norm(next(layer), expanded, 1, kernel)
        if excites:
            yield from _squeeze(next(layer), expanded)
        yield from _conv_norm(next(layer), out, expanded, 1)
    yield from _conv_norm("features.12", 576, 96, 1)


def _values(name, shape, rng):
    count = math.prod(shape)
    if len(shape) == 1:  # norms are the identity, biases zero
        return array.array("f", [1.0 if name.endswith(("weight", "running_var")) else 0.0]) * count
    deviation = math.sqrt(2 / math.prod(shape[1:]))  # He et al. 2015 (arXiv:1502.01852)
    return array.array("f", (rng.gauss(0, deviation) for _ in range(count)))


def write(directory, seed=1):
    """Writes DIRECTORY/mobilenet_v3_small.safetensors."""
    rng = random.Random(seed)
    header, body = {}, bytearray()
    for name, shape in sorted(shapes()):
        values = _values(name, shape, rng)
        if sys.byteorder == "big":
            values.byteswap()
        data = values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(directory, f"{NAME}.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)
