"""Writes random zips of odd records, and which names the pickles in them ask for when Python's zipfile, or torch where it is
installed, reads them: nothing of it is ever imported or run.

    python3 odd_zips.py SEED COUNT

Prints a line of JSON for each zip in which something is asked for: "bytes" in hex, and "names", pairs of module and name.
"""

import io
import json
import pickle
import random
import struct
import sys
import warnings
import zipfile
import zlib

try:
    import torch
except ImportError:
    torch = None

warnings.simplefilter("ignore")
RANDOM = random.Random(int(sys.argv[1]))
NAMES = ["a/data.pkl", "a/DATA.pkl", "a/data.pkl/", "a/data.pkl\0", "a/data.pkl\0/", "a/data/0", "a/version", "a/x.npy", "b/data.pkl", "a/"]
GOOD = pickle.dumps([1], 2)
EVIL = [b"\x80\x02cmodule%d\nname\n." % number for number in range(4)] + [b"cold\nname\n(tR."]


def array(body):
    header = RANDOM.choice(
        [
            "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
            "{'shape': (), 'fortran_order': False, 'descr': 'O'}",
            "{'descr': 'object', 'fortran_order': False, 'shape': (), }",
            "{'descr': '|\\x4f', 'fortran_order': False, 'shape': (), }",
            "{'descr': '|' 'O', 'fortran_order': False, 'shape': (), }",
            "{'descr': 'O' , 'descr': [('O', 'O')], 'fortran_order': False, 'shape': ()}",
        ]
    ).encode()
    header += b" " * RANDOM.randrange(9) + b"\n"
    version = RANDOM.choice([1, 2, 3])
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + body


def content():
    kind = RANDOM.randrange(6)
    if kind < 3:
        return RANDOM.choice(EVIL)
    return array(RANDOM.choice(EVIL)) if kind == 3 else RANDOM.choice([GOOD, b"3\n"])


class Zip:
    def __init__(self):
        self.data = bytearray()

    def directory(self, members):
        """Members and their directory. Gives where it is."""
        central = b""
        for name, body in members:
            raw = name.encode()
            method = RANDOM.choice([0, 0, 8])
            packed = zlib.compress(body, wbits=-15) if method else body
            size = len(body)
            at = len(self.data)
            common = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, zlib.crc32(body), len(packed), size, len(raw), 0)
            self.data += b"PK\3\4" + common + raw + packed
            central += b"PK\1\2\x14\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, at) + raw
        at = len(self.data)
        self.data += central
        return len(members), len(central), at

    def end64(self, count, size, at):
        place = len(self.data)
        self.data += struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, at)
        return place

    def end(self, count, size, at, locator=None, hidden=False, comment=b"", said=None):
        if locator is not None:
            self.data += struct.pack("<4sIQI", b"PK\6\7", 0, locator, 1)
        if hidden:
            size = at = 0xFFFFFFFF
            count = 0xFFFF
        length = len(comment) if said is None else said
        self.data += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, size, at, length) + comment


def odd_zip():
    made = Zip()
    members = lambda: [(RANDOM.choice(NAMES), content()) for _ in range(RANDOM.randrange(1, 4))]
    parts = [made.directory(members()) for _ in range(RANDOM.choice([1, 1, 2]))]
    first, last = parts[0], parts[-1]
    kind = RANDOM.randrange(6)
    if kind == 0:
        made.end(*RANDOM.choice(parts), comment=b"x" * RANDOM.randrange(3), said=RANDOM.choice([None, 0, 1, 2, 9]))
    elif kind == 1:
        places = [made.end64(*part) for part in RANDOM.sample(parts, len(parts))]
        made.end(*RANDOM.choice(parts), locator=RANDOM.choice(places), hidden=RANDOM.random() < 0.5)
    elif kind == 2:
        # An end whose comment is another zip.
        inner = Zip()
        inner.data = made.data + b"?" * 22
        part = inner.directory(members())
        inner.end(*part, said=RANDOM.choice([None, 1, 3]))
        rest = bytes(inner.data[len(made.data) + 22 :])
        made.end(*last, comment=rest, said=RANDOM.choice([None, None, len(rest) + 1, 0]))
    elif kind == 3:
        made.end(*first)
        made.end(*RANDOM.choice(parts))
    elif kind == 4:
        made.data = bytearray(b"PK\3\4" + b"?" * RANDOM.randrange(4)) + made.data
        made.end(*last)
    else:
        place = made.end64(*first)
        if RANDOM.random() < 0.5:
            made.data += b"?" * RANDOM.randrange(3)
        made.end(*last, locator=RANDOM.choice([place, place + 1, 0]), hidden=RANDOM.random() < 0.5)
    return bytes(made.data)


ASKED = []


class Watched(pickle.Unpickler):
    def find_class(self, module, name):
        ASKED.append([module, name])
        raise pickle.UnpicklingError


class Watching:
    """Stands for the module pickle in torch and numpy."""

    Unpickler = Watched
    load = staticmethod(lambda file, **more: Watched(file, **more).load())


def quietly(read):
    try:
        return read()
    except Exception:
        return None


def unpickle(body):
    if body[:6] == b"\x93NUMPY":
        # What numpy.load does, but for its reading of the header, which is a literal of Python.
        import ast

        width, code = (2, "<H") if body[6] == 1 else (4, "<I")
        end = 8 + width + struct.unpack(code, body[8 : 8 + width])[0]
        if "O" in str(ast.literal_eval(body[8 + width : end].decode().strip())["descr"]).replace("object", "O"):
            quietly(Watched(io.BytesIO(body[end:])).load)
    else:
        quietly(Watched(io.BytesIO(body)).load)


def read_all(data):
    with zipfile.ZipFile(io.BytesIO(data)) as read:
        for info in read.infolist():
            body = quietly(lambda: read.read(info))
            if body and (body[:6] == b"\x93NUMPY" or info.filename.endswith(".pkl")):
                unpickle(body)


for _ in range(int(sys.argv[2])):
    ASKED.clear()
    data = odd_zip()
    quietly(lambda: read_all(data))
    if torch is not None:
        quietly(lambda: torch.load(io.BytesIO(data), weights_only=False, pickle_module=Watching))
    if ASKED:
        print(json.dumps({"bytes": data.hex(), "names": ASKED}))
