"""Writes random safetensors files, most of them with something wrong in the header, and whether the safetensors library takes each.

    python3 odd_headers.py SEED COUNT

Prints a line of JSON for each file: "bytes" in hex, and "taken".
"""

import json
import random
import struct
import sys

from safetensors import deserialize

RANDOM = random.Random(int(sys.argv[1]))
BITS = {"BOOL": 8, "U8": 8, "F8_E4M3": 8, "I16": 16, "BF16": 16, "F32": 32, "I64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6}
PIECES = [b"0", b"1", b",", b'"', b"{", b"}", b" ", b"\n", b"\\u0041", b"e1", b".0", b"-"]
NUMBERS = [b"00,", b"0.0,", b"0e0,", b"-0,", b"18446744073709551616,"]


def header():
    written, end = {}, 0
    if RANDOM.random() < 0.3:
        written["__metadata__"] = {"a": RANDOM.choice(["b", "", "\u00e9"])}
    for index in range(RANDOM.randrange(4)):
        kind = RANDOM.choice(list(BITS))
        shape = [RANDOM.randrange(4) for _ in range(RANDOM.randrange(3))]
        bits = BITS[kind]
        for size in shape:
            bits *= size
        name = RANDOM.choice(["a", "b.weight", "\u00e9"]) + str(index)
        written[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + bits // 8]}
        end += bits // 8
    items = list(written.items())
    RANDOM.shuffle(items)
    text = json.dumps(dict(items), ensure_ascii=RANDOM.random() < 0.5).encode()
    return text, end


def changed(text):
    at = RANDOM.randrange(len(text))
    return RANDOM.choice(
        [
            lambda: text,
            lambda: text + b" " * RANDOM.randrange(9),
            lambda: text[:at] + bytes([RANDOM.randrange(256)]) + text[at + 1 :],
            lambda: text[:at] + text[at + 1 :],
            lambda: text[:at] + RANDOM.choice(PIECES) + text[at:],
            lambda: text.replace(b'"dtype"', b'"dtype":"F32","dtype"', 1),
            lambda: text.replace(b"0,", RANDOM.choice(NUMBERS), 1),
            lambda: text.replace(b"dtype", RANDOM.choice([b"\\u0064type", b"Dtype"]), 1),
        ]
    )()


def is_taken(data):
    try:
        deserialize(data)
        return True
    except Exception:
        return False


for _ in range(int(sys.argv[2])):
    text, end = header()
    text = changed(text)
    end = max(0, end + RANDOM.choice([0] * 5 + [1, -1, 8]))
    data = struct.pack("<Q", max(0, len(text) + RANDOM.choice([0] * 6 + [1, -1]))) + text + b"\0" * end
    print(json.dumps({"bytes": data.hex(), "taken": is_taken(data)}))
