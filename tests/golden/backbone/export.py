#!/usr/bin/python3
"""Writes what a reference implementation of an architecture computes.

Usage: export.py ARCHITECTURE OUT.safetensors SIDE_PX [SIDE_PX ...]
       export.py --list

The reference of tests/worker/backbone/parity_test.cc, run by it: torchvision's network, or the one of reference_*.py.
Needs Debian's python3-torch and python3-torchvision (1.13 and 0.14): the same LibTorch underneath, another program
above. No pretrained weights: seeded random ones. The file holds:

  weights.NAME              the network's tensors
  SIDE.images, SIDE.labels  two pictures [2, 3, SIDE, SIDE] and their classes, for each side
  SIDE.stage.STAGE          what each stage makes of them; the last is the features
  SIDE.logits               if the network has classes
  gradient.first, .last     of the cross-entropy at the first side, computed in float64, without dropout and with fixed
                            batch norms: let that side be small. Without classes, the first 10 features are the logits.

and as metadata: gradient_first and gradient_last, the tensors of those gradients: the first matrix or kernel of the
first stage, and of the last stage that has one; parameters and multiply_adds (of one picture of the usual side).
"""
import argparse
import json
import os
import struct

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # several exports run at a time; torch.set_num_threads does not reach it

import numpy as np
import torch

import architectures
import count
from weights import fill, random_images


def run(reference, network, images):
    """({stage: output}, what the network returns)."""
    stages, handles = {}, []
    for name, tap in reference.stages.items():
        module = network.get_submodule(tap.module)
        if tap.given:
            hook = lambda _, inputs, name=name, tap=tap: stages.update({name: tap.then(inputs[0])})
            handles.append(module.register_forward_pre_hook(hook))
        else:
            hook = lambda _, __, output, name=name, tap=tap: stages.update({name: tap.then(output)})
            handles.append(module.register_forward_hook(hook))
    output = network(images)
    for handle in handles:
        handle.remove()
    assert list(stages) == list(reference.stages) and all(torch.isfinite(x).all() for x in stages.values())
    return stages, output


def gradient_names(reference):
    """The first weight that is no vector, of the first stage and of the last one that has any."""
    names = [name for name, p in reference.network.named_parameters() if name.endswith("weight") and p.dim() >= 2]
    return names[0], next(name for name in names if name.startswith(reference.last_stage))


LABELS = torch.tensor([0, 7])


@torch.no_grad()
def compute(reference, side_px):
    """The tensors of one side."""
    images = random_images(2, side_px, seed=side_px)
    stages, output = run(reference, reference.at_side(reference.network, side_px), images)
    tensors = {"stage." + name: x for name, x in stages.items()}
    tensors.update(images=images, labels=LABELS)
    if reference.has_classes:
        tensors["logits"] = output
    return {"%d.%s" % (side_px, name): x for name, x in tensors.items()}


def gradients(reference, side_px):
    """Leaves the network in float64: in float32 an activation within rounding of a ReLU's corner moves them by 1 %."""
    network = reference.at_side(reference.network, side_px).double()
    weights = [network.get_parameter(name).requires_grad_(True) for name in gradient_names(reference)]
    output = network(random_images(2, side_px, seed=side_px).double())
    loss = torch.nn.functional.cross_entropy(output if reference.has_classes else output[:, :10], LABELS)
    return [gradient.float() for gradient in torch.autograd.grad(loss, weights)]


def write(path, tensors, metadata):
    """A safetensors file (huggingface.co/docs/safetensors)."""
    names = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}
    arrays = {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in tensors.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # so that all are aligned
    header, offset = {"__metadata__": {key: str(value) for key, value in metadata.items()}}, 0
    for name in order:
        array = arrays[name]
        span = [offset, offset + array.nbytes]
        header[name] = {"dtype": names[array.dtype], "shape": array.shape, "data_offsets": span}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.write(arrays[name].data)


def export(architecture, path, sides_px, with_count):
    default_px = architectures.default_side_px(architecture)
    reference = architectures.build(architecture)
    fill(reference.network, seed=7, side_px=default_px)
    state = reference.network.state_dict()
    tensors = {"weights." + name: x for name, x in state.items() if not name.endswith("num_batches_tracked")}
    for side_px in sides_px:
        tensors.update(compute(reference, side_px))
    metadata = dict(zip(("gradient_first", "gradient_last"), gradient_names(reference)))
    if with_count:
        metadata["parameters"] = count.parameters(reference.network)
        metadata["multiply_adds"] = count.multiply_adds(reference.network, default_px)
    tensors["gradient.first"], tensors["gradient.last"] = gradients(reference, sides_px[0])
    write(path, tensors, metadata)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true", help="print the architectures, one a line")
    parser.add_argument("--no-count", action="store_true", help="without multiply_adds and parameters: saves a run")
    parser.add_argument("architecture", nargs="?", choices=architectures.ARCHITECTURES)
    parser.add_argument("out", nargs="?")
    parser.add_argument("side_px", nargs="*", type=int)
    options = parser.parse_args()
    if options.list:
        print("\n".join(architectures.ARCHITECTURES))
    elif not options.side_px:
        parser.error("want ARCHITECTURE OUT SIDE_PX [SIDE_PX ...]")
    else:
        torch.set_num_threads(1)
        export(options.architecture, options.out, options.side_px, not options.no_count)


if __name__ == "__main__":
    main()
