"""Xception with the tensor names of the weights in circulation (Cadene's, timm's legacy_xception).

Source: Chollet 2017, Xception: Deep Learning with Depthwise Separable Convolutions (arXiv:1610.02357), figure 5.
Padding and batch norms as in those weights: none at the two first convolutions, else symmetric; epsilon 1e-5.
"""
from torch import nn


class SeparableConv(nn.Module):
    """3x3 inside each channel, then 1x1 across them, with nothing between (section 4.7)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x):
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    """A residual of separable convolutions from `widths` to `widths`; a halving one has a max pool and a projection."""

    def __init__(self, widths, halve, begin_with_relu=True):
        super().__init__()
        layers = []
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.ReLU(), SeparableConv(inputs, outputs), nn.BatchNorm2d(outputs)]
        if halve:
            layers.append(nn.MaxPool2d(3, 2, padding=1))
        self.rep = nn.Sequential(*layers[0 if begin_with_relu else 1:])
        self.halve = halve
        if halve:
            self.skip = nn.Conv2d(widths[0], widths[-1], 1, stride=2, bias=False)
            self.skipbn = nn.BatchNorm2d(widths[-1])

    def forward(self, x):
        return self.rep(x) + (self.skipbn(self.skip(x)) if self.halve else x)


class Xception(nn.Module):
    def __init__(self, classes=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.block1 = Block([64, 128, 128], halve=True, begin_with_relu=False)
        self.block2 = Block([128, 256, 256], halve=True)
        self.block3 = Block([256, 728, 728], halve=True)
        for i in range(4, 12):
            self.add_module("block%d" % i, Block([728, 728, 728, 728], halve=False))
        self.block12 = Block([728, 728, 1024], halve=True)
        self.conv3 = SeparableConv(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.conv4 = SeparableConv(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)
        self.exit_relu = nn.ReLU()
        self.fc = nn.Linear(2048, classes)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        for i in range(1, 13):
            x = getattr(self, "block%d" % i)(x)
        x = self.bn3(self.conv3(x)).relu()
        x = self.exit_relu(self.bn4(self.conv4(x)))
        return self.fc(x.mean([2, 3]))
