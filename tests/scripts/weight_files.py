"""Small weight files built byte by byte, for the readers' tests."""
import io
import pickle
import struct
import zipfile

import paths  # noqa: F401

import safetensors
from tensors import Tensor


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def halves(*values):
    return struct.pack(f"<{len(values)}e", *values)


def _text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(value):
    return b"J" + struct.pack("<i", value)


def _tuple(*parts):
    return b"(" + b"".join(parts) + b"t"


def storage(key, elements, kind="FloatStorage"):
    """The pickle opcodes of a reference to a storage, as torch.save writes it."""
    kind = b"ctorch\n" + kind.encode() + b"\n"
    return _tuple(_text("storage"), kind, _text(key), _text("cpu"), _number(elements)) + b"Q"


def tensor(key, elements, shape, strides, offset=0, kind="FloatStorage"):
    """The pickle opcodes of a tensor in a state dict, as torch.save writes it."""
    arguments = _tuple(
        storage(key, elements, kind), _number(offset), _tuple(*map(_number, shape)), _tuple(*map(_number, strides)),
        b"\x89", b"ccollections\nOrderedDict\n)R")
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def state_dict(entries):
    """A protocol 2 pickle of an OrderedDict; the values are opcodes."""
    body = b"".join(_text(name) + opcodes for name, opcodes in entries.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + body + b"u."


def pth(data_pkl, storages, compression=zipfile.ZIP_STORED):
    """The bytes of a zipped torch.save file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def legacy_pth(data_pkl, storages):
    """The bytes of a torch.save file from before PyTorch 1.6; storages are {key: (elements, bytes)}."""
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, facts))
    tail = b"".join(struct.pack("<q", elements) + data for elements, data in storages.values())
    return head + data_pkl + pickle.dumps(list(storages), 2) + tail


def early_pth():
    """SMALL as Python 2 and PyTorch before 0.4 wrote it: byte strings for text, and the first _rebuild_tensor."""
    def old(key, elements, shape, strides):
        reference = _tuple(b"U\7storage", b"ctorch\nFloatStorage\n", b"U" + bytes([len(key)]) + key.encode(), b"U\3cpu",
                           _number(elements), b"N") + b"Q"
        arguments = _tuple(reference, _number(0), _tuple(*map(_number, shape)), _tuple(*map(_number, strides)))
        return b"ctorch._utils\n_rebuild_tensor\n" + arguments + b"R"

    pairs = b"".join(b"](U" + bytes([len(name)]) + name.encode() + opcodes + b"e" for name, opcodes in (
        ("conv.weight", old("11", 6, (2, 3), (3, 1))), ("bn.running_var", old("22", 2, (2,), (1,)))))
    pickled = b"\x80\x02ccollections\nOrderedDict\n(](" + pairs + b"etR."
    return legacy_pth(pickled, {"11": (6, SMALL["conv.weight"].data), "22": (2, SMALL["bn.running_var"].data)})


# A network of two tensors, in the formats that people publish.
SMALL = {"conv.weight": Tensor("F32", (2, 3), floats(0, 1, 2, 3, 4, 5)),
         "bn.running_var": Tensor("F32", (2,), floats(7, 8))}
GGUF = b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + b"\0" * 400


def small_pth():
    """SMALL and a counter, which is not part of a backbone, as torch.save writes them."""
    entries = {"conv.weight": tensor("0", 6, (2, 3), (3, 1)), "bn.running_var": tensor("1", 2, (2,), (1,)),
               "bn.num_batches_tracked": tensor("2", 1, (), (), kind="LongStorage")}
    return pth(state_dict(entries), {"0": SMALL["conv.weight"].data, "1": SMALL["bn.running_var"].data,
                                     "2": b"\7" + b"\0" * 7})


def safetensors_file(metadata, tensors=None):
    return safetensors.serialize(SMALL if tensors is None else tensors, metadata)
