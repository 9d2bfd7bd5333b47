"""Reads the state dict in a torch.save file (.pth, .pt) without PyTorch and without running anything from the file.

A .pth is a pickle, and a pickle is a program. Ours is read by an unpickler that knows a dozen opcodes' worth of data
and these names only: OrderedDict, torch's two tensor builders and its storage types. Any other name is refused and
named in the error. Sources: torch/serialization.py and torch/_utils.py of PyTorch 0.3 (which wrote torchvision's VGG
and DenseNet files), 1.13 and 2.6.
"""
import collections
import io
import math
import pickle
import pickletools
import struct
import zipfile

from tensors import ITEM_BYTES, MAX_FILE_BYTES, MAX_TENSORS, Tensor, WeightsError, element_count

MAX_PICKLE_BYTES = 16 << 20  # the largest torchvision state dict's is under 1 MB
MAX_MEMBERS = MAX_TENSORS + 100
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
LEGACY_PROTOCOL = 1001

_STORAGE_DTYPES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL",
}

# What a pickled state dict consists of. Left out: everything that makes an object in another way than calling one of
# the names above (INST, OBJ, NEWOBJ, EXT) or that reads out-of-band data.
_OPCODES = frozenset(
    """PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS
    BININT BININT1 BININT2 LONG1 BINFLOAT NONE NEWTRUE NEWFALSE
    BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING""".split())

_Storage = collections.namedtuple("_Storage", "dtype key elements")
_View = collections.namedtuple("_View", "storage offset shape strides")


class _StorageType(str):
    """The dtype that a storage class of torch stands for; a string, so nothing in the pickle can call it."""

    __slots__ = ()


def _check_key(key):
    """Refuses a key that is not a string or an integer: nested tuples that share their parts take for ever to hash."""
    if type(key) not in (str, int):
        raise WeightsError(f"pickle: dict key: got a {type(key).__name__}, want a string or an integer")


def _ordered_dict(pairs=()):
    if not isinstance(pairs, (list, tuple)):
        raise WeightsError("pickle: OrderedDict: want a list of pairs")
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise WeightsError("pickle: OrderedDict: want a list of pairs")
        _check_key(pair[0])
    return collections.OrderedDict(pairs)


def _rebuild_tensor(storage, offset, shape, strides, *_):
    """Also torch's _rebuild_tensor_v2, which has requires_grad and hooks behind these."""
    if not isinstance(storage, _Storage):
        raise WeightsError("pickle: _rebuild_tensor: want a storage")
    return _View(storage, offset, shape, strides)


def _rebuild_parameter(view, *_):
    return view


class _Unpickler(pickle._Unpickler):
    """Knows the names below and nothing else, so the worst that a file can do is to be refused.

    Python's own unpickler, not the one in C: only there can a dict's keys be looked at before they are hashed.
    """

    _NAMES = {
        ("collections", "OrderedDict"): _ordered_dict,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGE_DTYPES.items()},
    }

    def find_class(self, module, name):
        found = self._NAMES.get((module, name))
        if found is None:
            raise WeightsError(f"pickle: refused {module[:80]}.{name[:80]}: want a plain state dict of tensors")
        return found

    def _set_item(self):
        _check_key(self.stack[-2])
        self.load_setitem()

    def _set_items(self):
        for key in self.stack[::2]:  # what came after the mark
            _check_key(key)
        self.load_setitems()

    def _make_dict(self):
        for key in self.stack[::2]:
            _check_key(key)
        self.load_dict()

    dispatch = {**pickle._Unpickler.dispatch, pickle.SETITEM[0]: _set_item, pickle.SETITEMS[0]: _set_items,
                pickle.DICT[0]: _make_dict}

    def persistent_load(self, pid):
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise WeightsError("pickle: persistent id: want ('storage', type, key, location, elements)")
        key, elements = pid[2], pid[4]
        if not isinstance(key, str) or not key.isalnum() or type(elements) is not int or elements < 0:
            raise WeightsError("pickle: persistent id: want an alphanumeric key and a number of elements")
        if len(pid) > 5 and pid[5] is not None:
            raise WeightsError("pickle: persistent id: got a view of a storage, want a storage")
        return _Storage(str(pid[1]), key, elements)


def _load(data):
    """Unpickles the one pickle that `data` begins with; returns (object, its length in bytes)."""
    bound = min(len(data), MAX_PICKLE_BYTES)
    data = bytes(data[:bound])
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name not in _OPCODES:
                raise WeightsError(f"pickle: refused the opcode {opcode.name}: want a plain state dict of tensors")
            if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > bound:
                raise WeightsError(f"pickle: memo index: got {argument}, want at most {bound}")
        size = position + 1
        return _Unpickler(io.BytesIO(data[:size]), encoding="utf-8").load(), size
    except WeightsError:
        raise
    except Exception as e:  # the unpickler raises nearly anything on a malformed stream
        raise WeightsError(f"pickle: got a malformed one ({type(e).__name__}: {str(e)[:80]})") from None


def looks_like(data):
    """Whether `data` begins as a torch.save file does, zipped or legacy."""
    return data[:4] == b"PK\x03\x04" or data[:2] == b"\x80\x02"


def parse(data):
    """Returns {name: Tensor} of a torch.save file's bytes."""
    return _parse_zip(data) if data[:4] == b"PK\x03\x04" else _parse_legacy(data)


def _parse_zip(data):
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _checked_members(archive, len(data))
            if members.get("byteorder") and archive.read(members["byteorder"]).strip() != b"little":
                raise WeightsError("byteorder: want little")
            root, _ = _load(archive.read(members["data.pkl"]))
            views = _state_dict(root)
            storages = {}
            for name, view in views.items():
                key = view.storage.key
                if key not in storages:
                    if f"data/{key}" not in members:
                        raise WeightsError(f"{name}: storage {key}: want a zip member data/{key}")
                    storages[key] = archive.read(members[f"data/{key}"])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error) as e:
        raise WeightsError(f"zip: got a damaged archive ({str(e)[:80]})") from None
    return _materialize(views, storages)


def _checked_members(archive, archive_bytes):
    """{path below the archive's one top folder: ZipInfo}; torch stores its members uncompressed."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise WeightsError(f"zip: got {len(infos)} members, want at most {MAX_MEMBERS}")
    members = {info.filename.partition("/")[2]: info for info in infos}
    if "data.pkl" not in members:
        raise WeightsError("zip: got no data.pkl, want a file written by torch.save")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise WeightsError(f"zip: {info.filename[:80]}: got a compressed member, want it stored as torch.save does")
    total = sum(info.file_size for info in infos)
    if total > archive_bytes:
        raise WeightsError(f"zip: got members of {total} bytes together, want at most the file's {archive_bytes}")
    if members["data.pkl"].file_size > MAX_PICKLE_BYTES:
        raise WeightsError(f"zip: data.pkl: got {members['data.pkl'].file_size} bytes, want at most {MAX_PICKLE_BYTES}")
    return members


def _parse_legacy(data):
    """The format before PyTorch 1.6: magic number, protocol, system facts, the object, the keys; then each storage."""
    view, position, objects = memoryview(data), 0, []
    for _ in range(5):
        found, size = _load(view[position:position + MAX_PICKLE_BYTES])
        objects.append(found)
        position += size
        if objects[0] != LEGACY_MAGIC:
            raise WeightsError("pickle: got a plain pickle, want a file written by torch.save")
    _, protocol, facts, root, keys = objects
    if protocol != LEGACY_PROTOCOL or not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise WeightsError(f"torch.save: want protocol {LEGACY_PROTOCOL}, little-endian")
    views = _state_dict(root)
    dtypes = {v.storage.key: v.storage.dtype for v in views.values()}
    if not isinstance(keys, list) or len(keys) > MAX_TENSORS or any(
            type(k) not in (str, int) or str(k) not in dtypes for k in keys):
        raise WeightsError("torch.save: want a list of the storages' keys")
    storages = {}
    for key in map(str, keys):
        if len(data) - position < 8:
            raise WeightsError(f"storage {key}: got the end of the file, want its size")
        (elements,) = struct.unpack_from("<q", data, position)
        size = elements * ITEM_BYTES[dtypes[key]]
        position += 8
        if not 0 <= size <= len(data) - position:
            raise WeightsError(f"storage {key}: got {elements} elements, want what the file holds")
        storages[key] = bytes(view[position:position + size])
        position += size
    return _materialize(views, storages)


def _state_dict(root):
    """The {name: _View} in the unpickled object: itself, or its `state_dict` or `model` entry."""
    for key in ("state_dict", "model"):
        if isinstance(root, dict) and isinstance(root.get(key), dict):
            root = root[key]
    if not isinstance(root, dict):
        raise WeightsError("pickle: want a state dict, as torch.save(model.state_dict(), path) writes it")
    if not root or len(root) > MAX_TENSORS:
        raise WeightsError(f"state dict: got {len(root)} entries, want 1 to {MAX_TENSORS}")
    for name, view in root.items():
        if not isinstance(name, str) or not isinstance(view, _View):
            raise WeightsError("state dict: got an entry that is not a named tensor, want only those")
    return root


def _materialize(views, storages):
    total = sum(element_count(v.shape, name) * ITEM_BYTES[v.storage.dtype] for name, v in views.items())
    if total > MAX_FILE_BYTES:  # many tensors over one storage would let a small file fill the memory
        raise WeightsError(f"state dict: got tensors of {total} bytes together, want at most {MAX_FILE_BYTES}")
    return {name: _tensor(name, view, storages.get(view.storage.key)) for name, view in views.items()}


def _tensor(name, view, storage):
    """Copies the view's elements out of its storage, row by row; contiguous tensors, the usual case, in one slice."""
    if storage is None:
        raise WeightsError(f"{name}: storage {view.storage.key}: want it in the file")
    width = ITEM_BYTES[view.storage.dtype]
    if len(storage) != view.storage.elements * width:
        raise WeightsError(f"{name}: storage: got {len(storage)} bytes, want {view.storage.elements * width}")
    shape, strides, count = view.shape, view.strides, element_count(view.shape, name)
    if not isinstance(strides, tuple) or len(strides) != len(shape) or any(
            type(s) is not int or not 0 <= s <= MAX_FILE_BYTES for s in strides):
        raise WeightsError(f"{name}: strides: want one non-negative integer for each dimension")
    last = sum((d - 1) * s for d, s in zip(shape, strides)) if count else -1
    if type(view.offset) is not int:
        raise WeightsError(f"{name}: offset: want an integer")
    if view.offset < 0 or view.offset + last >= view.storage.elements + (count == 0):
        raise WeightsError(f"{name}: offset: got {view.offset} for shape {tuple(shape)} and strides {strides}, "
                           f"want the tensor within its storage of {view.storage.elements} elements")
    if count > view.storage.elements:
        raise WeightsError(f"{name}: got {count} elements in a storage of {view.storage.elements}, want no overlap")
    if strides == _contiguous(shape):
        begin = view.offset * width
        return Tensor(view.storage.dtype, tuple(shape), bytes(storage[begin:begin + count * width]))
    return Tensor(view.storage.dtype, tuple(shape), _gather(storage, view, width))


def _contiguous(shape):
    return tuple(math.prod(shape[i + 1:]) for i in range(len(shape)))


def _gather(storage, view, width):
    positions = [view.offset]
    for size, stride in zip(view.shape, view.strides):
        positions = [p + i * stride for p in positions for i in range(size)]
    return b"".join(storage[p * width:(p + 1) * width] for p in positions)
