import collections
import io
import os
import pickle
import struct
import time
import unittest
import zipfile

import weight_files as files

import torch_pickle
from tensors import WeightsError

try:
    import torch
except ImportError:
    torch = None

SIX = files.floats(0, 1, 2, 3, 4, 5)


class Attack:
    """Pickles as a call of os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class TorchPickleTest(unittest.TestCase):
    def refused(self, data, pattern):
        with self.assertRaisesRegex(WeightsError, pattern):
            torch_pickle.parse(data)

    def test_zip_file_gives_its_tensors(self):
        pkl = files.state_dict({"a.weight": files.tensor("0", 6, (2, 3), (3, 1)), "a.bias": files.tensor("1", 2, (2,), (1,))})
        tensors = torch_pickle.parse(files.pth(pkl, {"0": SIX, "1": files.floats(7, 8)}))
        self.assertEqual(sorted(tensors), ["a.bias", "a.weight"])
        self.assertEqual(tensors["a.weight"], torch_pickle.Tensor("F32", (2, 3), SIX))
        self.assertEqual(tensors["a.bias"].data, files.floats(7, 8))

    def test_legacy_file_gives_its_tensors(self):
        pkl = files.state_dict({"a": files.tensor("94", 6, (3, 2), (2, 1))})
        tensors = torch_pickle.parse(files.legacy_pth(pkl, {"94": (6, SIX)}))
        self.assertEqual(tensors["a"], torch_pickle.Tensor("F32", (3, 2), SIX))

    def test_transposed_tensor_is_laid_out_in_rows(self):
        pkl = files.state_dict({"a": files.tensor("0", 6, (3, 2), (1, 3))})
        self.assertEqual(torch_pickle.parse(files.pth(pkl, {"0": SIX}))["a"].data, files.floats(0, 3, 1, 4, 2, 5))

    def test_view_starts_at_its_offset(self):
        pkl = files.state_dict({"a": files.tensor("0", 6, (2,), (1,), offset=4)})
        self.assertEqual(torch_pickle.parse(files.pth(pkl, {"0": SIX}))["a"].data, files.floats(4, 5))

    def test_a_call_of_os_system_is_refused_and_not_run(self):
        marker = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"graft-attack-{os.getpid()}")
        for protocol in (0, 2, 4):
            attack = pickle.dumps({"a": Attack(f"touch {marker}")}, protocol)
            self.refused(files.pth(attack, {}), "refused")
        self.assertFalse(os.path.exists(marker))

    def test_refused_name_is_in_the_message(self):
        self.refused(files.pth(b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR.", {}), r"refused os\.system")
        self.refused(files.pth(b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.", {}), r"refused builtins\.eval")
        self.refused(files.pth(b"\x80\x02ctorch\nload\n(X\x01\x00\x00\x001tR.", {}), r"refused torch\.load")

    def test_dotted_name_below_an_allowed_module_is_refused(self):
        name = b"_rebuild_tensor_v2.__globals__"
        pkl = b"\x80\x04\x8c\x0ctorch._utils\x8c" + bytes([len(name)]) + name + b"\x93."
        self.refused(files.pth(pkl, {}), "refused torch._utils._rebuild_tensor_v2.__globals__")

    def test_opcodes_that_build_other_objects_are_refused(self):
        self.refused(files.pth(b"\x80\x02(icollections\nOrderedDict\n.", {}), "opcode INST")
        self.refused(files.pth(b"\x80\x02ccollections\nOrderedDict\n)\x81.", {}), "opcode NEWOBJ")
        self.refused(files.pth(b"\x80\x02\x82\x01.", {}), "opcode EXT1")

    def test_nested_tuple_that_doubles_is_refused_at_once(self):
        bomb = b")q\0" + b"h\0\x86q\0" * 60  # each tuple is twice the one before: 2^60 parts to hash or print
        began = time.monotonic()
        for pkl in (b"}" + bomb + b"K\1s", b"}(" + bomb + b"K\1u", b"(" + bomb + b"K\1d",
                    b"ccollections\nOrderedDict\n](" + bomb + b"K\1\x86e\x85R"):
            self.refused(files.pth(b"\x80\x02" + pkl + b".", {}), "dict key: got a tuple")
        storage = files.storage("0", 6)
        view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage
        for rest, field in ((b"K\0" + bomb + b")", "shape"), (b"K\0K\6\x85" + bomb, "strides"),
                            (bomb + b"K\6\x85K\1\x85", "offset")):
            pkl = files.state_dict({"a": view + rest + b"\x89)tR"})
            self.refused(files.pth(pkl, {"0": SIX}), f"a: {field}")
        self.assertLess(time.monotonic() - began, 1)

    def test_storage_type_cannot_be_called(self):
        self.refused(files.pth(b"\x80\x02ctorch\nFloatStorage\n)R.", {}), "malformed")

    def test_huge_memo_index_is_refused(self):
        self.refused(files.pth(b"\x80\x02}r\xff\xff\xff\x7f.", {}), "memo index")

    def test_truncated_pickle_is_refused(self):
        pkl = files.state_dict({"a": files.tensor("0", 6, (6,), (1,))})
        for size in range(2, len(pkl), 7):
            self.refused(files.pth(pkl[:size], {"0": SIX}), "malformed")

    def test_tensor_beyond_its_storage_is_refused(self):
        for shape, strides, offset in (((7,), (1,), 0), ((2,), (1,), 5), ((2, 3), (4, 1), 0), ((2,), (1,), -1)):
            pkl = files.state_dict({"a": files.tensor("0", 6, shape, strides, offset)})
            self.refused(files.pth(pkl, {"0": SIX}), "a: offset")

    def test_negative_dimensions_and_strides_are_refused(self):
        self.refused(files.pth(files.state_dict({"a": files.tensor("0", 6, (-1,), (1,))}), {"0": SIX}), "a: shape")
        self.refused(files.pth(files.state_dict({"a": files.tensor("0", 6, (2,), (-1,))}), {"0": SIX}), "a: strides")

    def test_one_element_stretched_to_many_is_refused(self):
        pkl = files.state_dict({"a": files.tensor("0", 6, (1000, 1000), (0, 0))})
        self.refused(files.pth(pkl, {"0": SIX}), "no overlap")

    def test_storage_of_another_size_is_refused(self):
        pkl = files.state_dict({"a": files.tensor("0", 6, (6,), (1,))})
        self.refused(files.pth(pkl, {"0": SIX[:-4]}), "got 20 bytes, want 24")
        self.refused(files.pth(pkl, {}), "want a zip member data/0")

    def test_compressed_member_is_refused(self):
        pkl = files.state_dict({"a": files.tensor("0", 6, (6,), (1,))})
        self.refused(files.pth(pkl, {"0": SIX}, zipfile.ZIP_DEFLATED), "compressed member")

    def test_members_that_share_bytes_are_refused(self):
        pkl = files.state_dict({"a": files.tensor("0", 6, (6,), (1,))})
        data = bytearray(files.pth(pkl, {"0": SIX}))
        at = data.rindex(b"archive/data/0") - 46  # the member's record in the central directory
        struct.pack_into("<II", data, at + 20, 1 << 30, 1 << 30)
        self.refused(bytes(data), "together")

    def test_damaged_zip_is_refused(self):
        pkl = files.state_dict({"a": files.tensor("0", 6, (6,), (1,))})
        data = files.pth(pkl, {"0": SIX})
        self.refused(data[:len(data) // 2], "damaged")
        self.refused(data.replace(SIX, SIX[::-1], 1), "damaged")  # the checksum

    def test_zip_that_torch_did_not_write_is_refused(self):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("word/document.xml", "x")
        self.refused(out.getvalue(), "no data.pkl")

    def test_plain_pickle_is_refused(self):
        self.refused(pickle.dumps({"a": 1}, 2), "plain pickle")

    def test_entry_that_is_not_a_tensor_is_refused(self):
        self.refused(files.pth(pickle.dumps({"epoch": 3}, 2), {}), "not a named tensor")
        self.refused(files.pth(pickle.dumps([1, 2], 2), {}), "want a state dict")

    def test_legacy_file_cut_short_is_refused(self):
        pkl = files.state_dict({"a": files.tensor("94", 6, (6,), (1,))})
        data = files.legacy_pth(pkl, {"94": (6, SIX)})
        self.refused(data[:-1], "storage 94")
        self.refused(data[:-30], "storage 94")


@unittest.skipUnless(torch, "python3-torch is not installed")
class TorchPickleAgainstTorchTest(unittest.TestCase):
    def test_both_formats_equal_torch_in_every_dtype_and_layout(self):
        base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2)
        state = collections.OrderedDict(
            plain=base, transposed=base[:, :, 0, 0].t(), sliced=base[1:, :2], scalar=torch.tensor(3.5),
            nhwc=base.contiguous(memory_format=torch.channels_last), empty=torch.zeros(0, 3),
            half=base.half(), bfloat=base.bfloat16(), double=base.double(), long=base.long(),
            parameter=torch.nn.Parameter(base + 1))
        for zipped in (True, False):
            out = io.BytesIO()
            torch.save(state, out, _use_new_zipfile_serialization=zipped)
            tensors = torch_pickle.parse(out.getvalue())
            self.assertEqual(list(tensors), list(state))
            for name, want in state.items():
                got = tensors[name]
                raw = want.detach().contiguous().view(torch.int16 if want.dtype == torch.bfloat16 else want.dtype)
                self.assertEqual((name, got.shape, got.data), (name, tuple(want.shape), raw.numpy().tobytes()))

    def test_whole_model_is_refused(self):
        out = io.BytesIO()
        torch.save(torch.nn.Linear(2, 2), out)
        with self.assertRaisesRegex(WeightsError, "refused"):
            torch_pickle.parse(out.getvalue())


if __name__ == "__main__":
    unittest.main()
