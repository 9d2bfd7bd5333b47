import json
import os
import struct
import tempfile
import unittest

import weight_files as files

import safetensors
from tensors import Tensor, WeightsError, narrowed

TWO = {"b": Tensor("F32", (2,), files.floats(1, 2)), "a": Tensor("F16", (1, 3), files.halves(3, 4, 5))}


def raw(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def one(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


class SafetensorsTest(unittest.TestCase):
    def refused(self, data, pattern):
        with self.assertRaisesRegex(WeightsError, pattern):
            safetensors.parse(data)

    def test_round_trip(self):
        data = safetensors.serialize(TWO, {"architecture": "x"})
        self.assertEqual(safetensors.parse(data), (TWO, {"architecture": "x"}))

    def test_header_is_padded_to_8_and_tensors_are_in_name_order(self):
        data = safetensors.serialize(TWO, {})
        (size,) = struct.unpack_from("<Q", data)
        self.assertEqual(size % 8, 0)
        self.assertEqual(data[8 + size:], TWO["a"].data + TWO["b"].data)

    def test_written_file_is_the_serialized_one(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "deep", "x.safetensors")
            safetensors.write(path, TWO, {"architecture": "x"})
            with open(path, "rb") as f:
                self.assertEqual(f.read(), safetensors.serialize(TWO, {"architecture": "x"}))

    def test_write_leaves_no_file_behind_when_it_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(TypeError):
                safetensors.write(os.path.join(folder, "x.safetensors"), {"a": Tensor("F32", (1,), "not bytes")}, {})
            self.assertEqual(os.listdir(folder), [])

    def test_bad_header_length_is_refused(self):
        self.refused(b"\0" * 7, "at least 8")
        self.refused(struct.pack("<Q", 1 << 60) + b"{}", "header length")
        self.refused(struct.pack("<Q", 3) + b"{}", "header length")

    def test_bad_json_is_refused(self):
        self.refused(raw(b"{"), "JSON")
        self.refused(raw(b"[" * 100_000), "JSON")
        self.refused(raw(b"[]"), "JSON object")
        self.refused(raw(b'{"a": 1, "a": 2}'), "twice")
        self.refused(raw(b'{"\xff": 1}'), "JSON")

    def test_bad_entry_is_refused(self):
        body = files.floats(1, 2)
        for entry, pattern in (
            (one(dtype="F31"), "dtype"), (one(dtype=[]), "dtype"), (one(shape=[3]), "got 8 bytes, want 12"),
            (one(shape=[-2]), "shape"), (one(shape=[True, 2]), "shape"), (one(shape="2"), "shape"),
            (one(shape=[1 << 40, 1 << 40]), "shape"), (one(shape=[1] * 9), "dimensions"),
            (one(data_offsets=[0, 12]), "within"), (one(data_offsets=[8, 0]), "within"),
            (one(data_offsets=[0]), r"want \[begin, end\]"), ({"a": 3}, "want an object"),
            ({"__metadata__": {"a": 1}}, "object of strings"),
        ):
            self.refused(raw(entry, body), pattern)

    def test_holes_overlap_and_rest_are_refused(self):
        a = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
        self.refused(raw({"a": a, "b": a}, b"\0" * 4), "no overlap")
        self.refused(raw({"a": a, "b": {**a, "data_offsets": [8, 12]}}, b"\0" * 12), "no holes")
        self.refused(raw({"a": a}, b"\0" * 5), "got 5 bytes, want 4")


class NarrowedTest(unittest.TestCase):
    def test_double_is_rounded_to_float32_and_the_others_stay(self):
        want = files.floats(1.5, -2.0)
        self.assertEqual(narrowed(Tensor("F64", (2,), struct.pack("<2d", 1.5, -2.0)), "a"), Tensor("F32", (2,), want))
        for dtype, data in (("F32", want), ("F16", files.halves(1.5, -2.0)), ("BF16", want[2:4] + want[6:8])):
            tensor = Tensor(dtype, (2,), data)
            self.assertIs(narrowed(tensor, "a"), tensor)

    def test_integers_and_values_beyond_the_range_are_refused(self):
        with self.assertRaisesRegex(WeightsError, "dtype: got I64"):
            narrowed(Tensor("I64", (1,), b"\0" * 8), "a")
        with self.assertRaisesRegex(WeightsError, "beyond"):
            narrowed(Tensor("F64", (1,), struct.pack("<d", 1e300)), "a")


if __name__ == "__main__":
    unittest.main()
