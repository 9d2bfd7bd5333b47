"""scripts/convert-weights as a user calls it."""
import json
import os
import struct
import unittest

import weight_files as files
from scripts_case import ScriptsCase

from tensors import Tensor

PTH = files.small_pth()


class ConvertWeightsTest(ScriptsCase):
    def test_pth_keeps_names_and_loses_counters(self):
        out = self.succeeds("convert-weights", self.file("a.pth", PTH), "out.safetensors", "--architecture", "resnet18")
        self.assertIn("2 tensors, from PyTorch; architecture: resnet18", out)
        tensors, metadata = self.backbone("out.safetensors")
        self.assertEqual(tensors, files.SMALL)
        self.assertEqual(metadata, {"architecture": "resnet18"})

    def test_pth_from_python_2_and_an_early_torch(self):
        self.succeeds("convert-weights", self.file("a.pth", files.early_pth()), "out.safetensors")
        self.assertEqual(self.backbone("out.safetensors")[0], files.SMALL)

    def test_architecture_may_be_left_to_the_files_name(self):
        out = self.succeeds("convert-weights", self.file("a.pth", PTH), "resnet18.safetensors")
        self.assertIn("architecture: resnet18, as the file is called", out)
        self.assertEqual(self.backbone("resnet18.safetensors")[1], {})

    def test_every_option_is_in_the_metadata(self):
        classes = self.file("classes.txt", "cat\n  dog \nÄnder, \"quoted\"\n\n".encode())
        self.succeeds("convert-weights", self.file("a.pth", PTH), "x.safetensors", "--architecture", "resnet18",
                      "--mean", ".5,0.25,0", "--std", "1,.5,2e-1", "--resize-px", "232", "--crop-px", "224",
                      "--interpolation", "bicubic", "--padding", "tensorflow_same", "--norm-epsilon", "1e-3",
                      "--classes", classes, "--source", "a test")
        metadata = self.backbone("x.safetensors")[1]
        self.assertEqual(json.loads(metadata.pop("classes")), ["cat", "dog", 'Änder, "quoted"'])
        self.assertEqual(metadata, {
            "architecture": "resnet18", "mean": "0.5,0.25,0.0", "std": "1.0,0.5,0.2", "resize_px": "232",
            "crop_px": "224", "interpolation": "bicubic", "padding": "tensorflow_same", "norm_epsilon": "0.001",
            "source": "a test"})

    def test_safetensors_keeps_its_metadata_and_gets_more(self):
        self.file("in.safetensors",
                  files.safetensors_file({"architecture": "resnet18", "mean": "0,0,0", "format": "pt"}))
        self.succeeds("convert-weights", "in.safetensors", "out.safetensors", "--mean", "1,1,1", "--classes",
                      "imagenet_1000")
        tensors, metadata = self.backbone("out.safetensors")
        self.assertEqual(tensors, files.SMALL)
        self.assertEqual(metadata, {"architecture": "resnet18", "mean": "1.0,1.0,1.0", "classes": "imagenet_1000",
                                    "format": "pt"})

    def test_half_precision_stays_and_double_becomes_float32(self):
        tensors = {"h": Tensor("F16", (1,), files.halves(1.5)), "b": Tensor("BF16", (1,), b"\xc0\x3f"),
                   "d": Tensor("F64", (1,), struct.pack("<d", 1.5))}
        self.file("in.safetensors", files.safetensors_file({}, tensors))
        self.succeeds("convert-weights", "in.safetensors", "out.safetensors")
        want = {**tensors, "d": Tensor("F32", (1,), files.floats(1.5))}
        self.assertEqual(self.backbone("out.safetensors")[0], want)

    def test_gguf_needs_no_conversion_and_is_told_so(self):
        self.fails("graft reads as it is: put it in the backbone directory as NAME.gguf",
                   "convert-weights", self.file("a.gguf", files.GGUF), "out.safetensors")

    def test_what_is_not_weights_is_refused_and_nothing_is_written(self):
        attack = files.pth(b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR.", {})
        integers = files.safetensors_file({}, {"a": Tensor("I64", (1,), b"\0" * 8)})
        for data, message in ((b"hello, world", "unknown format"), (attack, "refused os.system"),
                              (PTH[:-100], "damaged"), (b"", "unknown format"), (integers, "dtype: got I64"),
                              (files.safetensors_file({}, {}), "got no tensors")):
            self.fails(message, "convert-weights", self.file("in", data), "out.safetensors")
            self.assertEqual(os.listdir(self.folder), ["in"])
        self.fails("No such file", "convert-weights", "absent", "out.safetensors")

    def test_wrong_options_are_refused(self):
        self.file("a.pth", PTH)
        self.file("hole.txt", b"cat\n\ndog\n")
        self.file("empty.txt", b"\n")
        for message, *options in (
            ("want three numbers", "--mean", "1,2"), ("want a number", "--mean", "1,nan,2"),
            ("three numbers > 0", "--std", "1,0,1"), ("want pixels", "--crop-px", "0"),
            ("want pixels", "--crop-px", "x"), ("at least --crop-px", "--crop-px", "224", "--resize-px", "200"),
            ("between 0 and 1", "--norm-epsilon", "0"), ("between 0 and 1", "--norm-epsilon", "1"),
            ("line 2", "--classes", "hole.txt"), ("got no names", "--classes", "empty.txt"),
            ("No such file", "--classes", "absent.txt"), ("invalid choice", "--interpolation", "nearest"),
        ):
            self.fails(message, "convert-weights", "a.pth", "out.safetensors", *options)
        self.fails("want NAME.safetensors", "convert-weights", "a.pth", "out.pth")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "out.safetensors")))


if __name__ == "__main__":
    unittest.main()
