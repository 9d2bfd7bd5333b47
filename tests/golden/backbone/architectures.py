"""The reference networks and where graft's stages end in them."""
import functools
from typing import Callable, Dict, NamedTuple

from torch import nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from reference_dinov2 import DinoV2
from reference_mobilenet_v1 import MobileNetV1
from reference_small_convnet import SmallConvnet
from reference_xception import Xception
from weights import without_initialisation


class Tap(NamedTuple):
    """A tensor inside a running network: what a module returns, or is given."""
    module: str
    given: bool = False
    then: Callable = lambda x: x


class Reference(NamedTuple):
    network: nn.Module
    stages: Dict[str, Tap]            # in order; the last is the features [n, width]
    last_stage: str                   # what the names of its tensors begin with: the last stage with a matrix
    has_classes: bool = True          # the network returns logits, else the features
    at_side: Callable = lambda network, side_px: network


def vgg(name):
    network = getattr(models, name)(init_weights=False)
    pools = [i for i, layer in enumerate(network.features) if isinstance(layer, nn.MaxPool2d)]
    stages = {"block%d" % (i + 1): Tap("features.%d" % pool) for i, pool in enumerate(pools)}
    stages["avgpool"] = Tap("classifier.0", given=True)
    stages["fc6"] = Tap("classifier.1")
    stages["fc7"] = Tap("classifier.4")
    return Reference(network, stages, "classifier.3.")


def resnet(name):
    stages = {"stem": Tap("maxpool")}
    stages.update({layer: Tap(layer) for layer in ("layer1", "layer2", "layer3", "layer4")})
    stages["avgpool"] = Tap("fc", given=True)
    return Reference(getattr(models, name)(), stages, "layer4.")


def inception(name):
    network = getattr(models, name)(transform_input=False, aux_logits=False, init_weights=False)
    stages = {"stem": Tap("maxpool2")}
    stages.update({block: Tap(block) for block, _ in network.named_children() if block.startswith("Mixed_")})
    stages["avgpool"] = Tap("fc", given=True)
    return Reference(network, stages, "Mixed_7c.")


def densenet(name):
    stages = {"stem": Tap("features.pool0")}
    stages.update({"denseblock%d" % i: Tap("features.transition%d" % i) for i in (1, 2, 3)})
    stages["denseblock4"] = Tap("features.norm5", then=nn.functional.relu)
    stages["avgpool"] = Tap("classifier", given=True)
    return Reference(getattr(models, name)(), stages, "features.denseblock4.")


def features_and_pool(network, classifier):
    """A network whose `features` are its stages, before a global average pool."""
    last = len(network.features) - 1
    stages = {"features.%d" % i: Tap("features.%d" % i) for i in range(last + 1)}
    stages["avgpool"] = Tap(classifier, given=True)
    return Reference(network, stages, "features.%d." % last)


def mobilenet_or_efficientnet(name):
    return features_and_pool(getattr(models, name)(), "classifier")


def convnext(name):
    return features_and_pool(getattr(models, name)(), "classifier.2")


def mobilenet_v1(_):
    return features_and_pool(MobileNetV1(), "classifier")


def xception(_):
    stages = {"stem": Tap("block1", given=True)}
    stages.update({"block%d" % i: Tap("block%d" % i) for i in range(1, 13)})
    stages["exit"] = Tap("exit_relu")
    stages["avgpool"] = Tap("fc", given=True)
    return Reference(Xception(), stages, "conv3.")


VIT_SIZES = {
    "vit_s_16": dict(num_heads=6, hidden_dim=384, mlp_dim=1536),  # Touvron et al. 2021 (arXiv:2012.12877), table 1
    "vit_b_16": dict(num_heads=12, hidden_dim=768, mlp_dim=3072),
}


def vit(name):
    build = functools.partial(models.VisionTransformer, patch_size=16, num_layers=12, **VIT_SIZES[name])

    def at_side(network, side_px):
        if side_px == network.image_size:
            return network
        with without_initialisation():
            resized = build(image_size=side_px).eval().requires_grad_(False)
        resized.load_state_dict(interpolate_embeddings(side_px, 16, network.state_dict()))
        return resized

    stages = {"conv_proj": Tap("encoder.layers", given=True)}
    stages.update({"encoder_layer_%d" % i: Tap("encoder.layers.encoder_layer_%d" % i) for i in range(12)})
    stages["ln"] = Tap("heads", given=True)
    return Reference(build(image_size=224), stages, "encoder.layers.encoder_layer_11.", at_side=at_side)


def dinov2(name):
    stages = {"patch_embed": Tap("blocks.0", given=True)}
    stages.update({"block_%d" % i: Tap("blocks.%d" % i) for i in range(12)})
    stages["norm"] = Tap("norm")
    registers = 4 if name.endswith("_reg") else 0
    return Reference(DinoV2(registers), stages, "blocks.11.", has_classes=False)


def small_convnet(_):
    stages = {"block%d" % i: Tap("block%d" % i) for i in (1, 2, 3)}
    stages["dense"] = Tap("dense", then=nn.functional.relu)
    return Reference(SmallConvnet(), stages, "dense.", has_classes=False)


# What makes each, and the side that it was published with.
ARCHITECTURES = {
    "vgg16": (vgg, 224),
    "vgg19": (vgg, 224),
    "vgg16_bn": (vgg, 224),
    "vgg19_bn": (vgg, 224),
    "resnet18": (resnet, 224),
    "resnet34": (resnet, 224),
    "resnet50": (resnet, 224),
    "resnet101": (resnet, 224),
    "resnet152": (resnet, 224),
    "inception_v3": (inception, 299),
    "xception": (xception, 299),
    "mobilenet_v1": (mobilenet_v1, 224),
    "mobilenet_v2": (mobilenet_or_efficientnet, 224),
    "mobilenet_v3_small": (mobilenet_or_efficientnet, 224),
    "mobilenet_v3_large": (mobilenet_or_efficientnet, 224),
    "densenet121": (densenet, 224),
    "efficientnet_b0": (mobilenet_or_efficientnet, 224),
    "efficientnet_b1": (mobilenet_or_efficientnet, 240),
    "efficientnet_b2": (mobilenet_or_efficientnet, 288),
    "efficientnet_b3": (mobilenet_or_efficientnet, 300),
    "convnext_tiny": (convnext, 224),
    "convnext_small": (convnext, 224),
    "vit_s_16": (vit, 224),
    "vit_b_16": (vit, 224),
    "vit_s_14": (dinov2, 224),
    "vit_s_14_reg": (dinov2, 224),
    "small_convnet": (small_convnet, 150),
}


def build(name):
    """The reference of an architecture, with uninitialised weights."""
    with without_initialisation():
        return ARCHITECTURES[name][0](name)


def default_side_px(name):
    return ARCHITECTURES[name][1]
