import struct
import unittest

import weight_files as files

import gguf
from tensors import Tensor, WeightsError

ONE = {"a": (0, (2,), files.floats(1, 2))}


def pair(key, kind, value):
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


class GgufTest(unittest.TestCase):
    def refused(self, data, pattern):
        with self.assertRaisesRegex(WeightsError, pattern):
            gguf.parse(data)

    def test_dimensions_are_reversed(self):
        six = files.halves(0, 1, 2, 3, 4, 5)
        tensors, _ = gguf.parse(files.gguf({"w": (1, (3, 2), six), "b": (0, (2,), files.floats(7, 8))}))
        self.assertEqual(tensors["w"], Tensor("F16", (2, 3), six))
        self.assertEqual(tensors["b"], Tensor("F32", (2,), files.floats(7, 8)))

    def test_key_values_of_every_kind_are_read(self):
        text = struct.pack("<Q", 2) + b"hi"
        pairs = (pair("u", 4, struct.pack("<I", 7)) + pair("t", 8, text) + pair("b", 7, b"\1")
                 + pair("n", 9, struct.pack("<IQ", 6, 2) + files.floats(1, 2))
                 + pair("s", 9, struct.pack("<IQ", 8, 2) + text + text))
        _, read = gguf.parse(files.gguf(ONE, pairs, 5))
        self.assertEqual(read, {"u": 7, "t": "hi", "b": True, "n": [1.0, 2.0], "s": ["hi", "hi"]})

    def test_every_truncation_is_refused(self):
        data = files.gguf(ONE, pair("t", 8, struct.pack("<Q", 2) + b"hi"), 1)
        for size in range(len(data) - 32 + 8):
            self.refused(data[:size], "")

    def test_other_magic_or_version_is_refused(self):
        self.refused(b"GGML" + b"\0" * 40, "magic")
        self.refused(files.gguf(ONE, version=1), "version: got 1")

    def test_counts_beyond_the_bounds_are_refused(self):
        self.refused(b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "tensors")
        self.refused(b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "key-value")

    def test_length_beyond_the_file_is_refused(self):
        self.refused(files.gguf(ONE, pair("t", 8, struct.pack("<Q", 1 << 62)), 1), "value of t")
        self.refused(files.gguf(ONE, pair("t", 9, struct.pack("<IQ", 6, 1 << 61)), 1), "value of t")
        self.refused(files.gguf(ONE, pair("t", 9, struct.pack("<IQ", 8, 1 << 40)), 1), "value of t")

    def test_nested_arrays_are_bounded(self):
        deep = struct.pack("<IQ", 9, 1) * 100
        self.refused(files.gguf(ONE, pair("t", 9, deep), 1), "depth")

    def test_quantised_tensor_is_refused(self):
        self.refused(files.gguf({"a": (2, (32,), b"\0" * 18)}), "tensor type 2")

    def test_tensor_beyond_the_data_is_refused(self):
        self.refused(files.gguf({"a": (0, (1000,), b"\0" * 4000), "b": (0, (1000,), b"")}), "together|within")
        self.refused(files.gguf({"a": (0, (1 << 40, 1 << 40), b"")}), "shape")

    def test_tensors_that_share_bytes_are_refused(self):
        data = bytearray(files.gguf({n: (0, (100,), b"\0" * 400) for n in "abcd"}))
        short = files.gguf({n: (0, (100,), b"") for n in "abcd"})[:200] + bytes(data[-400:])
        self.refused(short, "together")

    def test_name_twice_is_refused(self):
        data = files.gguf({"a": (0, (1,), files.floats(1)), "b": (0, (1,), files.floats(2))})
        self.refused(data.replace(b"\1\0\0\0\0\0\0\0b", b"\1\0\0\0\0\0\0\0a"), "twice")


if __name__ == "__main__":
    unittest.main()
