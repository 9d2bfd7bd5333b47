"""Small weight files built byte by byte, for the readers' tests."""
import io
import pickle
import struct
import zipfile

import paths  # noqa: F401


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
    return _tuple(_text("storage"), b"ctorch\n" + kind.encode() + b"\n", _text(key), _text("cpu"), _number(elements)) + b"Q"


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


def gguf(tensors, pairs=b"", pair_count=0, version=3):
    """The bytes of a GGUF file; tensors are {name: (type, dimensions in GGUF's order, bytes)}."""
    infos, body = b"", b""
    for name, (kind, dimensions, data) in tensors.items():
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dimensions))
        infos += struct.pack(f"<{len(dimensions)}Q", *dimensions) + struct.pack("<IQ", kind, len(body))
        body += data + b"\0" * (-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), pair_count) + pairs + infos
    return head + b"\0" * (-len(head) % 32) + body
