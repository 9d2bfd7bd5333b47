"""A strict reader of TensorBoard event files that shares nothing with the writer: no protobuf, its own CRC-32C.

tensorboard_reader.py PATH... prints each record of each file as a line of JSON (NaN and Infinity as Python writes
them), a message as an object of the fields that are set. A folder stands for its event files in the order of their
names, as TensorBoard merges them. Whatever is damaged, or is a field that graft has no use for, is an error.

Source: tensorflow/core/lib/io/record_writer.h (framing); protobuf.dev/programming-guides/encoding (messages);
tensorflow/core/util/event.proto and core/framework/{summary,tensor,tensor_shape}.proto (field numbers).
"""
import json
import os
import struct
import sys

# A message is {number: (name, kind)}, a kind another message or a scalar's name; a list of one kind is repeated.
_SHAPE = {2: ("dim", [{1: ("size", "int64")}])}
_TENSOR = {1: ("dtype", "int64"), 2: ("tensor_shape", _SHAPE), 4: ("tensor_content", "bytes"),
           8: ("string_val", ["string"])}
_METADATA = {1: ("plugin_data", {1: ("plugin_name", "string")})}
_VALUE = {1: ("tag", "string"), 2: ("simple_value", "float"), 8: ("tensor", _TENSOR), 9: ("metadata", _METADATA)}
_EVENT = {1: ("wall_time", "double"), 2: ("step", "int64"), 3: ("file_version", "string"),
          5: ("summary", {1: ("value", [_VALUE])})}
_WIRE_TYPES = {"int64": 0, "double": 1, "float": 5}  # all others: 2, a length and so many bytes


def _crc_of_byte(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # Castagnoli's 0x1EDC6F41, its bits reversed
    return byte


_CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked_crc32c(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _take(data, at, size, what):
    if size > len(data) - at:
        raise ValueError(f"{what}: got {len(data) - at} bytes, want {size}")
    return data[at:at + size], at + size


def _checked(data, at, size, what):
    taken, at = _take(data, at, size, what)
    crc, at = _take(data, at, 4, f"{what}'s CRC")
    (got,), want = struct.unpack("<I", crc), masked_crc32c(taken)
    if got != want:
        raise ValueError(f"{what}'s CRC: got {got:#010x}, want {want:#010x}")
    return taken, at


def records(data):
    """The payloads of a file's records."""
    at, found = 0, []
    while at < len(data):
        where = f"record {len(found)}, at byte {at}"
        length, at = _checked(data, at, 8, f"{where}: length")
        payload, at = _checked(data, at, struct.unpack("<Q", length)[0], f"{where}: data")
        found.append(payload)
    return found


def _varint(data, at, name):
    value = 0
    for shift in range(0, 70, 7):
        byte, at = _take(data, at, 1, name)
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise ValueError(f"{name}: a varint beyond 64 bits")


def _scalar_or_message(data, at, kind, name):
    if kind == "int64":
        value, at = _varint(data, at, name)
        return value - (value >> 63 << 64), at
    if kind in ("double", "float"):
        taken, at = _take(data, at, 8 if kind == "double" else 4, name)
        return struct.unpack("<d" if kind == "double" else "<f", taken)[0], at
    size, at = _varint(data, at, name)
    taken, at = _take(data, at, size, name)
    if kind == "string":
        return taken.decode("utf-8"), at
    return taken.hex() if kind == "bytes" else _message(taken, kind, name), at


def _message(data, fields, name):
    at, message = 0, {}
    while at < len(data):
        key, at = _varint(data, at, name)
        if key >> 3 not in fields:
            raise ValueError(f"{name}: got field {key >> 3}, want one of {sorted(fields)}")
        field, kind = fields[key >> 3]
        repeated = isinstance(kind, list)
        kind, path = kind[0] if repeated else kind, f"{name}.{field}"
        want = 2 if isinstance(kind, dict) else _WIRE_TYPES.get(kind, 2)
        if key & 7 != want:
            raise ValueError(f"{path}: got wire type {key & 7}, want {want}")
        value, at = _scalar_or_message(data, at, kind, path)
        if repeated:
            message.setdefault(field, []).append(value)
        elif field in message:
            raise ValueError(f"{path}: got it twice, want it once")
        else:
            message[field] = value
    return message


def events(path):
    """The events of a file. ValueError: it is damaged, or its first record is not the file version."""
    with open(path, "rb") as file:
        found = [_message(payload, _EVENT, f"record {i}") for i, payload in enumerate(records(file.read()))]
    if not found or found[0].get("file_version") != "brain.Event:2":
        raise ValueError(f"record 0: got {found[:1]}, want file_version brain.Event:2")
    return found


def event_files(path):
    """A file itself; of a folder, its event files in the order in which TensorBoard reads them."""
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(path, name) for name in sorted(os.listdir(path)) if "tfevents" in name]


def main(paths):
    for path in paths:
        for name in event_files(path):
            try:
                for event in events(name):
                    print(json.dumps(event))
            except (OSError, ValueError) as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
