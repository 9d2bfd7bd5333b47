#!/usr/bin/python3
"""Writes what torchvision computes for one architecture: weights, inputs, stage outputs, logits and two gradients.

Usage: export.py ARCHITECTURE SIDE_PX OUT.safetensors

The reference of tests/worker/backbone/parity_test.cc, run by it. Needs Debian's python3-torch and python3-torchvision
(1.13 and 0.14): the same LibTorch underneath, another program above. No pretrained weights: seeded random ones, with
batch-norm statistics that are not the identity.
"""
import json
import struct
import sys

import numpy as np
import torch
import torchvision


def random_network(architecture, seed):
    """The network with weights that keep activations near 1, in eval mode."""
    torch.manual_seed(seed)
    network = getattr(torchvision.models, architecture)(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def run(network, images):
    """{name: tensor} of all stage outputs, the logits and the gradients of the cross-entropy."""
    out = {}
    x = images
    for i, stage in enumerate(network.features):
        x = stage(x)
        out["stage.%d" % i] = x
    logits = network.classifier(x.mean([2, 3]))
    assert torch.equal(logits, network(images)) or torch.allclose(logits, network(images), atol=1e-5)
    out["logits"] = logits
    labels = torch.arange(len(images)) * 7 % logits.shape[1]
    torch.nn.functional.cross_entropy(logits, labels).backward()
    out["gradient.first"] = network.features[0][0].weight.grad
    out["gradient.last"] = network.features[-1][0].weight.grad
    out["labels"] = labels
    return out


def write(path, tensors):
    """A safetensors file (huggingface.co/docs/safetensors)."""
    names = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}
    header, blobs, offset = {}, [], 0
    for name, tensor in sorted(tensors.items()):
        array = np.array(tensor.detach().numpy(), order="C")
        span = [offset, offset + array.nbytes]
        header[name] = {"dtype": names[array.dtype], "shape": array.shape, "data_offsets": span}
        blobs.append(array.tobytes())
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main(architecture, side_px, path):
    torch.set_num_threads(1)
    network = random_network(architecture, seed=7)
    images = torch.randn(3, 3, int(side_px), int(side_px), generator=torch.Generator().manual_seed(11))
    tensors = {"out." + name: tensor for name, tensor in run(network, images).items()}
    tensors["in.images"] = images
    tensors.update({"weights." + name: tensor for name, tensor in network.state_dict().items()})
    write(path, tensors)


if __name__ == "__main__":
    main(*sys.argv[1:])
