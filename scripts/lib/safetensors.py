"""Reads and writes safetensors files (format: huggingface.co/docs/safetensors). Standard library only.

A file is: the header's length (8 bytes, little-endian), the header (JSON), then the tensors' bytes without holes.
"""
import json
import struct

from tensors import ITEM_BYTES, MAX_TENSORS, Tensor, WeightsError, element_count
from whole_file import writing

MAX_HEADER_BYTES = 100_000_000  # the reference implementation's own bound


def looks_like(data):
    """Whether `data` begins as a safetensors file does."""
    if len(data) < 10:
        return False
    (size,) = struct.unpack_from("<Q", data)
    return size <= MAX_HEADER_BYTES and data[8:9] == b"{"


def parse(data):
    """Returns ({name: Tensor}, {metadata}) of a safetensors file's bytes; every bound is checked."""
    header = _header(data)
    (size,) = struct.unpack_from("<Q", data)
    body = memoryview(data)[8 + size:]
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        raise WeightsError("__metadata__: want an object of strings")
    if len(header) > MAX_TENSORS:
        raise WeightsError(f"tensors: got {len(header)}, want at most {MAX_TENSORS}")
    spans = {name: _span(name, info, len(body)) for name, info in header.items()}
    end = 0
    for name, (begin, stop) in sorted(spans.items(), key=lambda item: item[1]):
        if begin != end:
            raise WeightsError(f"{name}: data_offsets: got a begin of {begin}, want {end} (no holes, no overlap)")
        end = stop
    if end != len(body):
        raise WeightsError(f"data: got {len(body)} bytes, want {end} as the header says")
    tensors = {
        name: Tensor(header[name]["dtype"], tuple(header[name]["shape"]), body[begin:stop])
        for name, (begin, stop) in spans.items()
    }
    return tensors, metadata


def _header(data):
    if len(data) < 8:
        raise WeightsError(f"safetensors: got {len(data)} bytes, want at least 8")
    (size,) = struct.unpack_from("<Q", data)
    if size > min(MAX_HEADER_BYTES, len(data) - 8):
        raise WeightsError(f"header length: got {size}, want at most {min(MAX_HEADER_BYTES, len(data) - 8)}")
    try:
        header = json.loads(data[8:8 + size].decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise WeightsError("header: got text that is not JSON, want a JSON object") from None
    if not isinstance(header, dict):
        raise WeightsError("header: want a JSON object")
    return header


def _unique(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise WeightsError("header: got a name twice, want each name once")
    return result


def _span(name, info, body_bytes):
    """(begin, end) of the tensor `name` in the body, after checking its dtype, shape and offsets."""
    if not isinstance(info, dict):
        raise WeightsError(f"{name}: want an object with dtype, shape and data_offsets")
    dtype, offsets = info.get("dtype"), info.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise WeightsError(f"{name}: dtype: got {str(dtype)[:40]}, want one of {', '.join(ITEM_BYTES)}")
    if not isinstance(offsets, list) or len(offsets) != 2 or any(type(o) is not int for o in offsets):
        raise WeightsError(f"{name}: data_offsets: got {str(offsets)[:80]}, want [begin, end]")
    begin, end = offsets
    if not 0 <= begin <= end <= body_bytes:
        raise WeightsError(f"{name}: data_offsets: got {offsets}, want them within the {body_bytes} bytes of data")
    want = element_count(info.get("shape"), name) * ITEM_BYTES[dtype]
    if end - begin != want:
        raise WeightsError(f"{name}: data_offsets: got {end - begin} bytes, want {want} for shape {info['shape']}")
    return begin, end


def _head(tensors, metadata):
    """A file's bytes before the tensors' own: the length and the header, padded with spaces to 8 bytes."""
    header = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        end = offset + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def serialize(tensors, metadata):
    """The bytes of a safetensors file: tensors in name order."""
    return b"".join([_head(tensors, metadata), *(tensors[name].data for name in sorted(tensors))])


def write(path, tensors, metadata):
    """Writes the file at `path` whole or not at all, tensor by tensor: joined they would take the memory twice."""
    with writing(path) as f:
        f.write(_head(tensors, metadata))
        for name in sorted(tensors):
            f.write(tensors[name].data)
