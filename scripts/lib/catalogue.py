"""The official weights that scripts/fetch-backbone knows, and how pictures are prepared for them. Data only.

Sources: torchvision/models/*.py, the DEFAULT weights (before 0.17 it names efficientnet_b0, b2 and b3 with wrong
checksums, mended in pytorch/vision pull request 8036); timm's default_cfgs and the config.json beside each file on
Hugging Face; DINOv2's README and dinov2/data/transforms.py.
"""
from dataclasses import dataclass

IMAGENET_MEAN, IMAGENET_STD = "0.485,0.456,0.406", "0.229,0.224,0.225"  # torchvision/transforms/_presets.py
HALF = "0.5,0.5,0.5"


@dataclass(frozen=True)
class Publisher:
    name: str
    base: str     # the addresses of its files begin so; --mirror takes its place
    licence: str
    data: str     # what the weights were trained on


TORCHVISION = Publisher("torchvision", "https://download.pytorch.org/models/", "BSD-3-Clause", "ImageNet-1k")
TIMM = Publisher("timm", "https://huggingface.co/timm/", "Apache-2.0", "ImageNet-1k")
TIMM_21K = Publisher("timm", "https://huggingface.co/timm/", "Apache-2.0", "ImageNet-21k and -1k")
# R. Cadene's port of Keras' weights, as timm keeps it.
CADENE = Publisher("Cadene", "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-cadene/",
                   "Apache-2.0", "ImageNet-1k")
DINOV2 = Publisher("DINOv2", "https://dl.fbaipublicfiles.com/dinov2/", "Apache-2.0", "LVD-142M, without labels")


@dataclass(frozen=True)
class Entry:
    publisher: Publisher
    file: str               # its address after the publisher's base
    resize_px: int = 256
    crop_px: int = 224
    interpolation: str = "bilinear"
    mean: str = IMAGENET_MEAN
    std: str = IMAGENET_STD
    norm_epsilon: str = ""  # of its batch norms; "": the architecture's own
    classes: str = "imagenet_1000"
    architecture: str = ""  # "": called as the entry
    sha256: str = ""        # of the file; "": it begins as the file's name says

    @property
    def checksum(self):
        """What the file's SHA-256 begins with: in these publishers' file names (torch.hub's convention), or given."""
        if self.publisher in (TORCHVISION, CADENE):
            return self.file.rsplit("-", 1)[1].removesuffix(".pth")
        return self.sha256


BACKBONES = {
    "vgg16": Entry(TORCHVISION, "vgg16-397923af.pth"),
    "vgg19": Entry(TORCHVISION, "vgg19-dcbb9e9d.pth"),
    "vgg16_bn": Entry(TORCHVISION, "vgg16_bn-6c64b313.pth"),
    "vgg19_bn": Entry(TORCHVISION, "vgg19_bn-c79401a0.pth"),
    "resnet18": Entry(TORCHVISION, "resnet18-f37072fd.pth"),
    "resnet34": Entry(TORCHVISION, "resnet34-b627a593.pth"),
    "resnet50": Entry(TORCHVISION, "resnet50-11ad3fa6.pth", 232),
    "resnet101": Entry(TORCHVISION, "resnet101-cd907fc2.pth", 232),
    "resnet152": Entry(TORCHVISION, "resnet152-f82ba261.pth", 232),
    # torchvision's network turns ImageNet's mean and deviation into 0.5 itself (inception.py, _transform_input).
    "inception_v3": Entry(TORCHVISION, "inception_v3_google-0cc3c7bd.pth", 342, 299, "bilinear", HALF, HALF),
    "mobilenet_v2": Entry(TORCHVISION, "mobilenet_v2-7ebf99e0.pth", 232),
    "mobilenet_v3_small": Entry(TORCHVISION, "mobilenet_v3_small-047dcff4.pth"),
    "mobilenet_v3_large": Entry(TORCHVISION, "mobilenet_v3_large-5c1a4163.pth", 232),
    "densenet121": Entry(TORCHVISION, "densenet121-a639ec97.pth"),
    "efficientnet_b0": Entry(TORCHVISION, "efficientnet_b0_rwightman-7f5810bc.pth", 256, 224, "bicubic"),
    "efficientnet_b1": Entry(TORCHVISION, "efficientnet_b1-c27df63c.pth", 255, 240),
    "efficientnet_b2": Entry(TORCHVISION, "efficientnet_b2_rwightman-c35c1473.pth", 288, 288, "bicubic"),
    "efficientnet_b3": Entry(TORCHVISION, "efficientnet_b3_rwightman-b3899882.pth", 320, 300, "bicubic"),
    "convnext_tiny": Entry(TORCHVISION, "convnext_tiny-983f1562.pth", 236),
    "convnext_small": Entry(TORCHVISION, "convnext_small-0c510722.pth", 230),
    "vit_b_16": Entry(TORCHVISION, "vit_b_16-c867db91.pth"),
    # timm's resize is the crop by its crop_pct, rounded down: 224 / 0.9, 224 / 0.875, 299 / 0.8975.
    "vit_s_16": Entry(TIMM_21K, "vit_small_patch16_224.augreg_in21k_ft_in1k/resolve/main/model.safetensors",
                      248, 224, "bicubic", HALF, HALF,
                      sha256="79c03c635cdfd798a364a9d8c4e5c0b7255b975ea2c9616046d4f77ab01435aa"),
    "mobilenet_v1": Entry(TIMM, "mobilenetv1_100.ra4_e3600_r224_in1k/resolve/main/model.safetensors",
                          256, 224, "bicubic", HALF, HALF, "1e-05",
                          sha256="15c2f1411deb8e0533acbb41fe9523062f80d444d0393e7ad2b429f41378efc3"),
    "xception": Entry(CADENE, "xception-43020ad28.pth", 333, 299, "bicubic", HALF, HALF),
    "vit_s_14": Entry(DINOV2, "dinov2_vits14/dinov2_vits14_pretrain.pth", 256, 224, "bicubic", classes="",
                      sha256="b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    "vit_s_14_reg": Entry(DINOV2, "dinov2_vits14/dinov2_vits14_reg4_pretrain.pth", 256, 224, "bicubic", classes="",
                          architecture="vit_s_14",
                          sha256="f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb"),
}
