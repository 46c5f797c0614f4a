"""Writes random pickles of odd opcodes, and what Python's two readers ask for in each: nothing of it is ever imported or run.

    python3 odd_pickles.py SEED COUNT

Prints a line of JSON for each pickle in which something is asked for: "bytes" in hex, and "names", pairs of module and name.
"""

import io
import json
import pickle
import random
import resource
import struct
import sys

# A number that is read at the wrong place may ask for a memo of gigabytes.
resource.setrlimit(resource.RLIMIT_AS, (512 * 1024 * 1024, 512 * 1024 * 1024))
RANDOM = random.Random(int(sys.argv[1]))
WORDS = ["os", "system", "builtins", "eval", "collections", "OrderedDict", "a.b", "x y", "posix\t", "\u00e9", "", "os "]
PLAIN = [
    *(code.encode() for code in "(012)]}NtldaesuRboQ"),
    b"\x81", b"\x85", b"\x86", b"\x87", b"\x88", b"\x8f", b"\x90", b"\x91", b"\x92", b"\x98",
    b"K\x05", b"J\0\0\0\0", b"I1\n", b"F1.0\n", b"L1L\n", b"Pabc\n", b"C\x01a", b"B\x01\0\0\0a", b"\x8a\x01\x05",
    b"\x96\x01\0\0\0\0\0\0\0a", b"G" + b"\0" * 8,
]  # fmt: skip


def text():
    word = RANDOM.choice(WORDS)
    data = word.encode()
    return RANDOM.choice(
        [
            lambda: b"X" + struct.pack("<I", len(data)) + data,
            lambda: b"\x8c" + bytes([len(data)]) + data,
            lambda: b"\x8d" + struct.pack("<Q", len(data)) + data,
            lambda: b"V" + word.encode("raw-unicode-escape") + b"\n",
            lambda: b"V" + "".join("\\u%04x" % ord(letter) for letter in word).encode() + b"\n",
            lambda: b"S" + repr(word).encode("ascii", "backslashreplace") + b"\n",
            lambda: b"S'" + "".join("\\x%02x" % ord(letter) for letter in word if ord(letter) < 128).encode() + b"'\n",
            lambda: b"U" + bytes([len(data)]) + data,
            lambda: b"T" + struct.pack("<i", len(data)) + data,
        ]
    )()


def lines():
    return RANDOM.choice(WORDS).encode() + b"\n" + RANDOM.choice(WORDS).encode() + b"\n"


def opcode():
    kind = RANDOM.randrange(60)
    key = RANDOM.randrange(6)
    if kind < 18:
        return text()
    if kind < 24:
        return b"\x93"
    if kind < 27:
        return b"c" + lines() if kind < 26 else b"(i" + lines()
    if kind < 32:
        return RANDOM.choice([b"q%c" % key, b"r%c\0\0\0" % key, b"p%d\n" % key, b"\x94"])
    if kind < 38:
        return RANDOM.choice([b"h%c" % key, b"j%c\0\0\0" % key, b"g %d \n" % key, b"g+%d\n" % key])
    if kind < 41:
        return b"\x95" + struct.pack("<Q", RANDOM.choice([0, 1, 2, 5, 9]))
    return RANDOM.choice(PLAIN)


class Thing:
    """Stands for whatever is asked for."""

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __call__(self, *_, **__):
        return Thing()

    def __setstate__(self, _):
        pass

    def __setitem__(self, *_):
        pass

    def append(self, *_):
        pass

    extend = add = append


def names_asked_for(reader, data):
    asked = []

    class Watched(reader):
        def find_class(self, module, name):
            asked.append([module, name])
            return Thing

        def persistent_load(self, _):
            return Thing()

    try:
        Watched(io.BytesIO(data)).load()
    except Exception:
        pass
    return asked


for _ in range(int(sys.argv[2])):
    data = b"".join(opcode() for _ in range(RANDOM.randrange(2, 14)))
    data += RANDOM.choice([b"", text() + text() + b"\x93", b"h\x00h\x01\x93", b"\x93"]) + b"."
    data = RANDOM.choice([b"", b"\x80" + bytes([RANDOM.randrange(6)])]) + data
    names = names_asked_for(pickle._Unpickler, data) + names_asked_for(pickle.Unpickler, data)
    if names:
        print(json.dumps({"bytes": data.hex(), "names": names}))
