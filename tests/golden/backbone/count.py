"""What a network costs: learnable parameters and multiply-adds."""
import torch
from torch import nn

import reference_dinov2
from weights import random_images


def parameters(network):
    """With its own classifier, without what only pretraining uses."""
    return sum(p.numel() for name, p in network.named_parameters() if name != "mask_token")


def of_convolution(module, output):
    return output.numel() * module.weight[0].numel()


def of_linear(module, output):
    return output.numel() * module.in_features


def of_attention_products(_, output):
    """Queries by keys, and their softmax by values."""
    tokens, width = output.shape[1:]
    return 2 * tokens * tokens * width


def of_multihead_attention(module, output):
    """torch's module computes its projections without calling a part."""
    tokens, width = output[0].shape[1:]
    return 4 * tokens * width * width + of_attention_products(module, output[0])


COSTS = {nn.Conv2d: of_convolution, nn.Linear: of_linear, nn.MultiheadAttention: of_multihead_attention,
         reference_dinov2.Attention: of_attention_products}


@torch.no_grad()
def multiply_adds(network, side_px):
    """Of one picture: convolutions, linear layers and the products of attention, as torchvision counts "GFLOPS"."""
    counts = []
    handles = []
    for module in network.modules():
        cost = COSTS.get(type(module))
        if cost is not None:
            hook = lambda module, _, output, cost=cost: counts.append(cost(module, output))
            handles.append(module.register_forward_hook(hook))
    network(random_images(1, side_px, seed=0))
    for handle in handles:
        handle.remove()
    return sum(counts)
