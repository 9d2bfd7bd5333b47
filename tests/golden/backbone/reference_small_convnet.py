"""The small network for 150 px pictures, trained from scratch, up to its last layer.

Source: Chollet 2016, Building powerful image classification models using very little data (The Keras Blog): three
convolutions without padding, each with ReLU and a max pool, then a dense layer of 64.
"""
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3)

    def forward(self, x):
        return nn.functional.max_pool2d(self.conv(x).relu(), 2)


class SmallConvnet(nn.Module):
    """Images [n, 3, 150, 150] -> features [n, 64]."""

    def __init__(self):
        super().__init__()
        self.block1 = Block(3, 32)
        self.block2 = Block(32, 32)
        self.block3 = Block(32, 64)
        self.dense = nn.Linear(64 * 17 * 17, 64)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(x)))
        return self.dense(x.flatten(1)).relu()
