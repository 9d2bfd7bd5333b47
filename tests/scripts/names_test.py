import math
import unittest

import weight_files as files

import names
from tensors import Tensor, WeightsError

try:
    import torch
    import torchvision
except ImportError:
    torch = None


def filled(shapes, classes=3):
    """A tensor of each shape, all ones."""
    full = {name: tuple(classes if d is None else d for d in shape) for name, shape in shapes.items()}
    return {name: Tensor("F32", shape, files.floats(1) * math.prod(shape)) for name, shape in full.items()}


class NamesTest(unittest.TestCase):
    def test_right_shapes_pass_with_any_number_of_classes(self):
        for architecture in names.known_architectures():
            for classes in (2, 1000):
                names.check_shapes(architecture, filled(names.expected_shapes(architecture), classes))

    def test_wrong_shape_missing_and_extra_names_are_refused(self):
        good = filled(names.expected_shapes("mobilenet_v3_small"))
        first = "features.0.0.weight"
        with self.assertRaisesRegex(WeightsError, r"features.0.0.weight: shape: got \[1\], want \[16, 3, 3, 3\]"):
            names.check_shapes("mobilenet_v3_small", {**good, first: Tensor("F32", (1,), b"\0" * 4)})
        with self.assertRaisesRegex(WeightsError, "missing .*features.0.0.weight"):
            names.check_shapes("mobilenet_v3_small", {k: v for k, v in good.items() if k != first})
        with self.assertRaisesRegex(WeightsError, "not known .*'more'"):
            names.check_shapes("mobilenet_v3_small", {**good, "more": good[first]})

    def test_architecture_is_told_from_the_names(self):
        for architecture in names.known_architectures():
            self.assertEqual(names.detect(names.expected_shapes(architecture)), architecture)
        self.assertIsNone(names.detect({"conv1.weight": None}))

    def test_unknown_timm_name_is_refused(self):
        with self.assertRaisesRegex(WeightsError, "blocks.9.0.conv.weight"):
            names.from_timm("mobilenet_v2", {"blocks.9.0.conv.weight": Tensor("F32", (1,), b"\0" * 4)})

    # The names as they stand in timm's published files (timm/models/_efficientnet_blocks.py gives the parts' names).
    def test_timm_names_of_mobilenet_v3_small(self):
        timm = {ours: theirs for ours, theirs, _ in names._NETWORKS["mobilenet_v3_small"]()}
        for ours, theirs in {
            "features.0.0.weight": "conv_stem.weight",
            "features.0.1.running_var": "bn1.running_var",
            "features.1.block.0.0.weight": "blocks.0.0.conv_dw.weight",
            "features.1.block.1.fc1.bias": "blocks.0.0.se.conv_reduce.bias",
            "features.1.block.2.0.weight": "blocks.0.0.conv_pw.weight",
            "features.1.block.2.1.bias": "blocks.0.0.bn2.bias",
            "features.2.block.0.0.weight": "blocks.1.0.conv_pw.weight",
            "features.3.block.2.0.weight": "blocks.1.1.conv_pwl.weight",
            "features.6.block.2.fc2.weight": "blocks.2.2.se.conv_expand.weight",
            "features.8.block.1.1.weight": "blocks.3.1.bn2.weight",
            "features.11.block.3.1.weight": "blocks.4.2.bn3.weight",
            "features.12.0.weight": "blocks.5.0.conv.weight",
            "features.12.1.weight": "blocks.5.0.bn1.weight",
            "classifier.0.weight": "conv_head.weight",
            "classifier.3.bias": "classifier.bias",
        }.items():
            self.assertEqual(timm[ours], theirs)

    def test_timm_names_of_mobilenet_v2(self):
        timm = {ours: theirs for ours, theirs, _ in names._NETWORKS["mobilenet_v2"]()}
        for ours, theirs in {
            "features.1.conv.0.0.weight": "blocks.0.0.conv_dw.weight",
            "features.1.conv.1.weight": "blocks.0.0.conv_pw.weight",
            "features.1.conv.2.weight": "blocks.0.0.bn2.weight",
            "features.2.conv.0.0.weight": "blocks.1.0.conv_pw.weight",
            "features.3.conv.3.bias": "blocks.1.1.bn3.bias",
            "features.17.conv.2.weight": "blocks.6.0.conv_pwl.weight",
            "features.18.0.weight": "conv_head.weight",
            "features.18.1.weight": "bn2.weight",
            "classifier.1.weight": "classifier.weight",
        }.items():
            self.assertEqual(timm[ours], theirs)


@unittest.skipUnless(torch, "python3-torchvision is not installed")
class NamesAgainstTorchvisionTest(unittest.TestCase):
    def test_names_and_shapes_are_torchvisions(self):
        for architecture in names.known_architectures():
            state = getattr(torchvision.models, architecture)(weights=None).state_dict()
            want = {name: tuple(value.shape) for name, value in state.items() if "num_batches" not in name}
            ours = {name: tuple(1000 if d is None else d for d in shape)
                    for name, shape in names.expected_shapes(architecture).items()}
            self.assertEqual(ours, want)

    def test_timm_weights_give_the_same_outputs_after_renaming(self):
        """torchvision's network built with timm's epsilon is timm's network; renamed weights must not change it."""
        torch.manual_seed(3)
        network = torchvision.models.mobilenet_v3_small(weights=None).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 1e-5
                module.running_var.uniform_(1e-4, 2)
                module.running_mean.uniform_(-1, 1)
                module.weight.data.uniform_(0.5, 1.5)
        rows = names._NETWORKS["mobilenet_v3_small"]()
        timm = {}
        for ours, theirs, _ in rows:
            value = network.state_dict()[ours]
            value = value[:, :, None, None] if theirs == "conv_head.weight" else value
            timm[theirs] = Tensor("F32", tuple(value.shape), value.numpy().tobytes())
        image = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            want = network(image)
        renamed = names.from_timm("mobilenet_v3_small", timm)
        names.check_shapes("mobilenet_v3_small", renamed)
        fresh = torchvision.models.mobilenet_v3_small(weights=None).eval()
        state = {name: torch.frombuffer(bytearray(t.data), dtype=torch.float32).reshape(t.shape)
                 for name, t in renamed.items()}
        fresh.load_state_dict({**fresh.state_dict(), **state})
        with torch.no_grad():
            got = fresh(image)
        # float32 rounding through 50 layers; without the rescaled weights the difference is of the outputs' own size.
        self.assertLess((got - want).abs().max().item(), 1e-4 * want.abs().max().item())


if __name__ == "__main__":
    unittest.main()
