import contextlib
import io
import json
import math
import os
import struct
import sys
import tempfile
import unittest

import paths

sys.path.insert(0, os.path.join(paths.ROOT, "tests", "support"))
import tensorboard_reader as reader

# The two records that TensorFlow wrote for tf.summary.scalar("accuracy", 0.99, step=77), as TensorBoard's own tests have
# them (tensorboard/data/server/tf_record.rs, test_success).
VERSION = (b"\x18\0\0\0\0\0\0\0" b"\xa3\x7f\x4b\x22" b"\x09\0\0\x80\x38\x99\xd6\xd7\x41\x1a\x0dbrain.Event:2"
           b"\x12\x4b\x36\xab")
ACCURACY = (b"\x32\0\0\0\0\0\0\0" b"\x24\x19\x56\xec" b"\x09\xc4\x05\xb7\x3d\x99\xd6\xd7\x41" b"\x10\x4d" b"\x2a\x25"
            b"\x0a\x23\x0a\x08accuracy\x42\x0a\x08\x01\x12\0\x22\x04\xa4\x70\x7d\x3f\x4a\x0b\x0a\x09\x0a\x07scalars"
            b"\xa5\x5b\x64\x33")


def record(payload):
    length = struct.pack("<Q", len(payload))
    return b"".join((length, struct.pack("<I", reader.masked_crc32c(length)),
                     payload, struct.pack("<I", reader.masked_crc32c(payload))))


def sized(key, data):
    return bytes((key, len(data))) + data


class TensorBoardReaderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, data, name="events.out.tfevents.1"):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def second(self, payload):
        """What is read of a record that follows the file version."""
        return reader.events(self.file(VERSION + record(payload)))[1]

    def refused(self, data, pattern):
        with self.assertRaisesRegex(ValueError, pattern):
            reader.events(self.file(data))

    def test_crc_is_that_of_rfc_3720(self):  # appendix B.4, read as little-endian numbers
        for data, want in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
            self.assertEqual(reader.crc32c(data), want)

    def test_reads_what_tensorflow_wrote(self):
        version, accuracy = reader.events(self.file(VERSION + ACCURACY))
        self.assertEqual(version, {"wall_time": 1599759586.0, "file_version": "brain.Event:2"})
        (value,) = accuracy.pop("summary")["value"]
        self.assertEqual((round(accuracy["wall_time"], 3), accuracy["step"]), (1599759606.86, 77))
        self.assertEqual(value.pop("tensor"), {"dtype": 1, "tensor_shape": {},
                                               "tensor_content": struct.pack("<f", 0.99).hex()})
        self.assertEqual(value, {"tag": "accuracy", "metadata": {"plugin_data": {"plugin_name": "scalars"}}})

    def test_reads_scalars_text_and_a_negative_step(self):
        curves = [sized(0x0A, sized(0x0A, tag) + b"\x15" + struct.pack("<f", x))
                  for tag, x in ((b"a", 0.5), (b"b", math.inf))]
        text = sized(0x0A, sized(0x42, b"\x08\x07\x12\0" + sized(0x42, "\u00e9".encode())))
        step = b"\x10" + b"\xff" * 9 + b"\x01"
        self.assertEqual(self.second(step + sized(0x2A, b"".join(curves) + text)), {
            "step": -1,
            "summary": {"value": [{"tag": "a", "simple_value": 0.5}, {"tag": "b", "simple_value": math.inf},
                                  {"tensor": {"dtype": 7, "tensor_shape": {}, "string_val": ["\u00e9"]}}]}})

    def test_every_changed_byte_is_noticed(self):
        whole = VERSION + ACCURACY
        for at in range(len(whole)):
            self.refused(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1:], "CRC: got 0x.*want 0x")

    def test_every_cut_within_a_record_is_noticed(self):
        for end in range(1, len(ACCURACY)):
            self.refused(VERSION + ACCURACY[:end], r"record 1, at byte 40: .*got \d+ bytes, want \d+")

    def test_length_beyond_the_file_is_refused(self):
        length = struct.pack("<Q", 1 << 63)
        self.refused(length + struct.pack("<I", reader.masked_crc32c(length)), "data: got 0 bytes")

    def test_file_that_does_not_begin_with_its_version_is_refused(self):
        for data in (b"", ACCURACY, record(sized(0x1A, b"brain.Event:1"))):
            self.refused(data, "want file_version")

    def test_bad_message_is_refused(self):
        for payload, pattern in (
            (b"\x20\x01", "got field 4"), (b"\x00", "got field 0"), (b"\x2a\x02\x12\x00", "summary: got field 2"),
            (b"\x09\0\0", "wall_time: got 2 bytes, want 8"), (b"\x0d\0\0\0\0", "wall_time: got wire type 5, want 1"),
            (b"\x12\x01\0", "step: got wire type 2, want 0"), (b"\x10\x01\x10\x01", "step: got it twice"),
            (b"\x10", "step: got 0 bytes"), (b"\x10" + b"\xff" * 10 + b"\x01", "beyond 64 bits"),
            (b"\x10" + b"\xff" * 9 + b"\x02", "beyond 64 bits"), (b"\x2a\x05\0", "summary: got 1 bytes, want 5"),
            (b"\x1a\x01\xff", "utf-8"),
        ):
            self.refused(VERSION + record(payload), pattern)

    def test_prints_a_folders_files_in_order_one_object_a_record(self):
        self.file(VERSION + record(b"\x10\x02"), "events.out.tfevents.2")
        self.file(VERSION + record(b"\x10\x01"), "events.out.tfevents.1")
        self.file(b"no event file", "notes.txt")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(reader.main([self.folder]), 0)
        self.assertEqual([json.loads(line).get("step") for line in out.getvalue().splitlines()], [None, 1, None, 2])

    def test_names_the_damaged_file_and_fails(self):
        path, err = self.file(VERSION[:-1]), io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(reader.main([path]), 1)
            self.assertEqual(reader.main([path + ".absent"]), 1)
        self.assertRegex(err.getvalue(), f"^{path}: record 0, at byte 0: .*\n{path}.absent: .*No such file")


if __name__ == "__main__":
    unittest.main()
