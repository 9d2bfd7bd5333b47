"""The tensors' names and shapes of the architectures that scripts/fetch-backbone knows, and timm's names for them.

graft uses torchvision's names. timm (HuggingFace) names the same layers otherwise; `from_timm` translates. Both follow
from one table of blocks per network: MobileNetV3, Howard et al. 2019 (arXiv:1905.02244), table 2; MobileNetV2,
Sandler et al. 2018 (arXiv:1801.04381), table 2.
"""
import math
import struct

from tensors import Tensor, WeightsError

# One inverted residual: kernel, expanded channels, output channels, squeeze-and-excite, and timm's stage of it.
_V3_SMALL_BLOCKS = (
    (3, 16, 16, True, 0),
    (3, 72, 24, False, 1), (3, 88, 24, False, 1),
    (5, 96, 40, True, 2), (5, 240, 40, True, 2), (5, 240, 40, True, 2),
    (5, 120, 48, True, 3), (5, 144, 48, True, 3),
    (5, 288, 96, True, 4), (5, 576, 96, True, 4), (5, 576, 96, True, 4),
)
# Expansion, output channels, repeats: the paper's t, c, n.
_V2_STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))

_NORM = ("weight", "bias", "running_mean", "running_var")

IMAGENET_MEAN, IMAGENET_STD = "0.485,0.456,0.406", "0.229,0.224,0.225"  # torchvision/transforms/_presets.py


def _divisible(channels):
    """torchvision's _make_divisible(channels, 8): the nearest multiple of 8, not more than 10 % below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class _Network:
    """Collects (torchvision name, timm name, shape) of each tensor, layer by layer."""

    def __init__(self):
        self.rows = []

    def norm(self, ours, timm, channels):
        self.rows += [(f"{ours}.{part}", f"{timm}.{part}", (channels,)) for part in _NORM]

    def conv(self, ours, timm, out, into, kernel):
        self.rows.append((f"{ours}.weight", f"{timm}.weight", (out, into, kernel, kernel)))

    def biased(self, ours, timm, shape):
        self.rows.append((f"{ours}.weight", f"{timm}.weight", shape))
        self.rows.append((f"{ours}.bias", f"{timm}.bias", shape[:1]))


def _mobilenet_v3_small():
    net = _Network()
    net.conv("features.0.0", "conv_stem", 16, 3, 3)
    net.norm("features.0.1", "bn1", 16)
    into, stages = 16, []
    for index, (kernel, wide, out, squeeze, stage) in enumerate(_V3_SMALL_BLOCKS, start=1):
        timm, part = f"blocks.{stage}.{stages.count(stage)}", 0
        stages.append(stage)
        ours = f"features.{index}.block"
        expands = wide != into
        if expands:
            net.conv(f"{ours}.0.0", f"{timm}.conv_pw", wide, into, 1)
            net.norm(f"{ours}.0.1", f"{timm}.bn1", wide)
            part = 1
        net.conv(f"{ours}.{part}.0", f"{timm}.conv_dw", wide, 1, kernel)
        net.norm(f"{ours}.{part}.1", f"{timm}.bn{part + 1}", wide)
        if squeeze:
            narrow, part = _divisible(wide // 4), part + 1
            net.biased(f"{ours}.{part}.fc1", f"{timm}.se.conv_reduce", (narrow, wide, 1, 1))
            net.biased(f"{ours}.{part}.fc2", f"{timm}.se.conv_expand", (wide, narrow, 1, 1))
        # timm calls the projection conv_pw where there is no expansion before it.
        net.conv(f"{ours}.{part + 1}.0", f"{timm}.conv_pwl" if expands else f"{timm}.conv_pw", out, wide, 1)
        net.norm(f"{ours}.{part + 1}.1", f"{timm}.bn3" if expands else f"{timm}.bn2", out)
        into = out
    net.conv("features.12.0", "blocks.5.0.conv", 576, into, 1)
    net.norm("features.12.1", "blocks.5.0.bn1", 576)
    net.biased("classifier.0", "conv_head", (1024, 576))  # timm: a 1x1 convolution after pooling, [1024, 576, 1, 1]
    net.biased("classifier.3", "classifier", (None, 1024))
    return net.rows


def _mobilenet_v2():
    net = _Network()
    net.conv("features.0.0", "conv_stem", 32, 3, 3)
    net.norm("features.0.1", "bn1", 32)
    into, index = 32, 0
    for stage, (expansion, out, repeats) in enumerate(_V2_STAGES):
        for repeat in range(repeats):
            index += 1
            wide, timm, ours, part = into * expansion, f"blocks.{stage}.{repeat}", f"features.{index}.conv", 0
            if expansion != 1:
                net.conv(f"{ours}.0.0", f"{timm}.conv_pw", wide, into, 1)
                net.norm(f"{ours}.0.1", f"{timm}.bn1", wide)
                part = 1
            net.conv(f"{ours}.{part}.0", f"{timm}.conv_dw", wide, 1, 3)
            net.norm(f"{ours}.{part}.1", f"{timm}.bn{part + 1}", wide)
            net.conv(f"{ours}.{part + 1}", f"{timm}.conv_pwl" if part else f"{timm}.conv_pw", out, wide, 1)
            net.norm(f"{ours}.{part + 2}", f"{timm}.bn{part + 2}", out)
            into = out
    net.conv("features.18.0", "conv_head", 1280, into, 1)
    net.norm("features.18.1", "bn2", 1280)
    net.biased("classifier.1", "classifier", (None, 1280))
    return net.rows


_NETWORKS = {"mobilenet_v3_small": _mobilenet_v3_small, "mobilenet_v2": _mobilenet_v2}

# Added to a batch norm's variance. timm builds both networks with PyTorch's default; torchvision builds MobileNetV3
# with the paper's TensorFlow value (torchvision/models/mobilenetv3.py, norm_layer).
_TIMM_EPSILON = 1e-5
_EPSILON = {"mobilenet_v3_small": 1e-3, "mobilenet_v2": 1e-5}


def known_architectures():
    return tuple(_NETWORKS)


def expected_shapes(architecture):
    """{torchvision name: shape}; None in a shape is the number of classes, which is free."""
    return {ours: shape for ours, _, shape in _NETWORKS[architecture]()}


def check_shapes(architecture, tensors):
    """Raises WeightsError unless `tensors` are exactly the architecture's; an unknown architecture is not checked."""
    if architecture not in _NETWORKS:
        return
    want = expected_shapes(architecture)
    missing, extra = sorted(set(want) - set(tensors)), sorted(set(tensors) - set(want))
    if missing or extra:
        raise WeightsError(f"{architecture}: missing {missing[:3] or 'nothing'}, not known {extra[:3] or 'nothing'} "
                           f"({len(missing)} and {len(extra)} names), want torchvision's names")
    for name, shape in want.items():
        got = tensors[name].shape
        if len(got) != len(shape) or any(w not in (None, g) for g, w in zip(got, shape)):
            raise WeightsError(f"{name}: shape: got {list(got)}, want {list(shape)}")


def detect(tensors):
    """The known architecture whose names these are, in torchvision's or timm's spelling; None if there is none."""
    for architecture, rows in _NETWORKS.items():
        names = rows()
        if {ours for ours, _, _ in names} == set(tensors) or {timm for _, timm, _ in names} == set(tensors):
            return architecture
    return None


def is_timm(tensors):
    return "conv_stem.weight" in tensors


def from_timm(architecture, tensors):
    """`tensors` (float32, timm's names) under torchvision's names, giving the same outputs in torchvision's network."""
    rows = _NETWORKS[architecture]()
    names = {timm: (ours, shape) for ours, timm, shape in rows}
    unknown = sorted(set(tensors) - set(names))
    if unknown:
        raise WeightsError(f"{architecture}: {unknown[0]}: not one of timm's names for it")
    result = {}
    for name, tensor in tensors.items():
        ours, shape = names[name]
        if len(shape) == 2 and tensor.shape[2:] == (1, 1):  # conv_head: a fully connected layer written as 1x1
            tensor = Tensor(tensor.dtype, tensor.shape[:2], tensor.data)
        result[ours] = tensor
    _rescale_norms(result, _TIMM_EPSILON, _EPSILON[architecture])
    return result


def _rescale_norms(tensors, trained, built):
    """Makes batch norms trained with one epsilon exact in a network built with another: w' = w sqrt((v+b)/(v+t))."""
    if trained == built:
        return
    for name in [n for n in tensors if n.endswith(".running_var")]:
        weight = name.replace("running_var", "weight")
        if weight not in tensors or len(tensors[weight].data) != len(tensors[name].data):
            continue  # check_shapes names what is wrong
        form = f"<{len(tensors[name].data) // 4}f"
        pairs = zip(struct.unpack(form, tensors[weight].data), struct.unpack(form, tensors[name].data))
        scaled = [w * math.sqrt((max(v, 0.0) + built) / (max(v, 0.0) + trained)) for w, v in pairs]
        tensors[weight] = Tensor("F32", tensors[weight].shape, struct.pack(form, *scaled))
