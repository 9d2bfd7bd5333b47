"""Seeded random weights that keep activations near 1, in seconds for 140 million of them."""
import math
from unittest import mock

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

# The last norm of a residual. Small ones keep a network of 50 residuals from magnifying rounding a thousandfold.
LAST_NORMS = {BasicBlock: "bn2", Bottleneck: "bn3"}


def without_initialisation():
    """Within this context modules are made with whatever is in memory; fill() writes all of it."""
    functions = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    return mock.patch.multiple(nn.init, **{name: lambda tensor, *_, **__: tensor for name in functions})


BLOB_PX = 16


def random_images(count, side_px, seed):
    """Coarse blobs under fine noise, about as large as normalised pictures: [count, 3, side_px, side_px].

    Blobs are of one size for all sides: statistics that are right at one side are about right at another.
    """
    generator = torch.Generator().manual_seed(seed)
    grid = side_px // BLOB_PX + 2
    blobs = torch.randn(count, 3, grid, grid, generator=generator)
    blobs = nn.functional.interpolate(blobs, scale_factor=BLOB_PX, mode="bilinear", align_corners=False)
    blobs = blobs[:, :, :side_px, :side_px]
    return blobs + 0.5 * torch.randn(blobs.shape, generator=generator)


def fill_own(name, parameter):
    """A parameter that a network holds beside its layers."""
    if name in ("layer_scale", "gamma"):
        parameter.uniform_(0.3, 0.7)
    elif name.endswith(("_token", "_tokens", "_embed", "_embedding")):
        parameter.normal_(std=0.5)
    else:
        raise KeyError(name)


def fill_module(module):
    """The parameters of one module, without those of its parts."""
    bias = None
    if isinstance(module, nn.Conv2d):
        module.weight.normal_(std=math.sqrt(2 / module.weight[0].numel()))  # for the half that a ReLU leaves
        bias = module.bias
    elif isinstance(module, nn.Linear):
        module.weight.normal_(std=math.sqrt(1 / module.in_features))
        bias = module.bias
    elif isinstance(module, nn.MultiheadAttention):
        module.in_proj_weight.normal_(std=math.sqrt(1 / module.embed_dim))
        bias = module.in_proj_bias
    elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
        module.weight.uniform_(0.8, 1.2)
        bias = module.bias
    else:
        for name, parameter in module.named_parameters(recurse=False):
            fill_own(name, parameter)
    if bias is not None:
        bias.uniform_(-0.2, 0.2)


def set_statistics(norm, inputs):
    """Statistics of a batch norm near those of its input: as after training, when no depth makes values explode."""
    x = inputs[0]
    mean = x.mean([0, 2, 3])
    var = (x * x).mean([0, 2, 3]) - mean * mean
    var = (var + var.mean()) / 2  # a channel that happens to be constant stays small
    norm.running_mean.copy_(mean + var.sqrt() * torch.empty_like(mean).uniform_(-0.2, 0.2))
    norm.running_var.copy_(var * torch.empty_like(var).uniform_(0.5, 1.5))


@torch.no_grad()
def fill(network, seed, side_px):
    """Writes all weights; statistics of batch norms come from pictures of the usual side. Leaves eval mode on."""
    torch.manual_seed(seed)
    network.eval().requires_grad_(False)
    for module in network.modules():
        fill_module(module)
    for module in network.modules():
        if type(module) in LAST_NORMS:
            getattr(module, LAST_NORMS[type(module)]).weight.mul_(0.3)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(set_statistics) for norm in norms]
    if norms:
        network(random_images(2, side_px, seed))
    for handle in handles:
        handle.remove()
