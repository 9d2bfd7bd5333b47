"""MobileNet, width 1, with names in the manner of torchvision's MobileNetV2.

Source: Howard et al. 2017, MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications
(arXiv:1704.04861), table 1. ReLU6 and the epsilon are of the authors' code (tensorflow/models, research/slim/nets/
mobilenet_v1.py); its SAME padding is replaced by the symmetric one of 1.
"""
from torch import nn

# Output channels and stride of each depthwise separable convolution.
BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
          (1024, 2), (1024, 1)]


def conv(inputs, outputs, kernel, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.ReLU6())


class MobileNetV1(nn.Module):
    def __init__(self, classes=1000):
        super().__init__()
        self.features = nn.Sequential(conv(3, 32, 3, stride=2))
        inputs = 32
        for outputs, stride in BLOCKS:
            depthwise = conv(inputs, inputs, 3, stride, groups=inputs)
            self.features.append(nn.Sequential(depthwise, conv(inputs, outputs, 1)))
            inputs = outputs
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))
