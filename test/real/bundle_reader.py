"""Reads and checks a bundle of format 1: written from docs/bundle-format.md alone, with Python's standard library alone.

    python3 bundle_reader.py BUNDLE [--key PUBLIC_KEY.pem]... [--require NUMBER_OF_KEYS]

Prints one JSON object: "ok", "findings" (file and what is wrong with it), "damaged" (models and images that cannot be
used) and "held" (digests that a delta leaves to the zone). It reads no byte of a volume twice and writes nothing.
"""

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import sys
import unicodedata

SUMS = "SHA256SUMS"
INVENTORY = "inventory.json"
BLOCK = 512


class Refused(Exception):
    """Nothing after this is believed."""

    def __init__(self, file, problem):
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem


# Signatures: ECDSA on P-256, https://nvlpubs.nist.gov/nistpubs/FIPS/NIST.FIPS.186-5.pdf section 6.4

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
KEY_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")


def add(one, other):
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    if one == other:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, P)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def multiply(point, factor):
    result = None
    while factor:
        if factor & 1:
            result = add(result, point)
        point = add(point, point)
        factor >>= 1
    return result


class PublicKey:
    def __init__(self, pem):
        lines = [line for line in pem.splitlines() if line]
        if lines[0] != "-----BEGIN PUBLIC KEY-----" or lines[-1] != "-----END PUBLIC KEY-----":
            raise Refused("key", "not a public key in PEM form")
        self.der = base64.b64decode("".join(lines[1:-1]), validate=True)
        if len(self.der) != 91 or self.der[:26] != KEY_HEAD or self.der[26] != 4:
            raise Refused("key", "not a key on P-256")
        self.point = int.from_bytes(self.der[27:59], "big"), int.from_bytes(self.der[59:], "big")
        x, y = self.point
        if (y * y - (x * x * x - 3 * x + B)) % P:
            raise Refused("key", "not on the curve")
        self.fingerprint = "sha256:" + hashlib.sha256(self.der).hexdigest()

    def verifies(self, message, der):
        numbers = der_numbers(der)
        if numbers is None:
            return False
        r, s = numbers
        if not (0 < r < N and 0 < s < N):
            return False
        digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
        inverse = pow(s, -1, N)
        point = add(multiply(G, digest * inverse % N), multiply(self.point, r * inverse % N))
        return point is not None and point[0] % N == r


def der_numbers(der):
    """r and s; None for anything but a SEQUENCE of two INTEGERs, each in its shortest form."""
    if len(der) < 8 or der[0] != 0x30 or der[1] != len(der) - 2:
        return None
    numbers, rest = [], der[2:]
    while len(rest) >= 3 and rest[0] == 0x02 and 0 < rest[1] <= len(rest) - 2:
        digits, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        number = int.from_bytes(digits, "big", signed=True)
        if len(digits) != number.bit_length() // 8 + 1:
            return None
        numbers.append(number)
    return numbers if len(numbers) == 2 and not rest else None


def one_line(text):
    """The bytes of a signature file."""
    if text.endswith(b"\n"):
        text = text[:-1]
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
    return decoded if base64.b64encode(decoded) == text else b""


def check_signature(directory, sums, keys):
    """The fingerprint of the one of these keys that signed."""
    plain, sigstore = SUMS + ".sig", SUMS + ".sigstore.json"
    line = one_line(read_small(directory, plain))
    key = next((each for each in keys if each.verifies(sums, line)), None)
    if key is None:
        raise Refused(plain, "signature")
    bundle = parse_json(read_small(directory, sigstore), sigstore)
    if not isinstance(bundle, dict):
        raise Refused(sigstore, "signature")
    message = bundle.get("messageSignature")
    signature = message.get("signature") if isinstance(message, dict) else None
    wanted = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": b64(hashlib.sha256(key.der).digest())}, "tlogEntries": []},
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(sums).digest())},
            "signature": signature,
        },
    }
    if bundle != wanted or not isinstance(signature, str) or not key.verifies(sums, one_line(signature.encode())):
        raise Refused(sigstore, "signature")
    return key.fingerprint


APPROVAL = {
    "schema": lambda value: value == "sie-mirror/approval/v1",
    "sums": lambda value: re.fullmatch(r"sha256:[0-9a-f]{64}", value),
    "key": lambda value: re.fullmatch(r"sha256:[0-9a-f]{64}", value),
    "role": lambda value: 1 <= len(value) <= 200,
    "comment": lambda value: len(value) <= 2000,
    "at": lambda value: re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?Z", value),
}


def is_approval(statement):
    if not isinstance(statement, dict):
        return False
    given = {"comment": "", **statement}
    return all(isinstance(given.get(field), str) and fits(given[field]) for field, fits in APPROVAL.items())


def check_approvals(directory, sums, keys):
    """The fingerprints of those of these keys that approved."""
    trusted = {key.fingerprint: key for key in keys}
    signers = set()
    for name in sorted(os.listdir(directory)):
        match = re.fullmatch(r"SHA256SUMS\.approval-([0-9a-f]{16})\.json", name)
        if not match:
            continue
        text = read_small(directory, name)
        statement = parse_json(text, name)
        if not is_approval(statement) or statement["key"][7:23] != match[1]:
            raise Refused(name, "signature")
        key = trusted.get(statement["key"])
        if key is None:
            continue
        other = name[: -len("json")] + "sig"
        line = one_line(read_small(directory, other)) if os.path.lexists(os.path.join(directory, other)) else b""
        if not key.verifies(text, line) or statement["sums"] != "sha256:" + hashlib.sha256(sums).hexdigest():
            raise Refused(name, "signature")
        signers.add(key.fingerprint)
    return signers


def b64(data):
    return base64.b64encode(data).decode()


# Files beside the volumes

SMALL = 64 * 1024
MOST_APPROVALS = 16
LIMITS = {SUMS: 16 * 1024**2, INVENTORY: 1024**3}


def read_small(directory, name):
    path = os.path.join(directory, name)
    if not os.path.lexists(path):
        raise Refused(name, "missing")
    if not is_plain(path) or os.path.getsize(path) > LIMITS.get(name, SMALL):
        raise Refused(name, "corrupt")
    with open(path, "rb") as file:
        return file.read()


def is_plain(path):
    return os.path.isfile(path) and not os.path.islink(path)


def parse_json(data, name):
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_float=number, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Refused(name, "corrupt") from None
    level = containers([value])
    for _ in range(64):
        level = containers(each for one in level for each in (one.values() if isinstance(one, dict) else one))
    if level:
        raise Refused(name, "corrupt")
    return value


def containers(values):
    return [each for each in values if isinstance(each, (dict, list))]


def unique(pairs):
    """An object in which no key stands twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def number(text):
    """`1e3` is the integer 1000 as well as `1000` is."""
    value = float(text)
    return int(value) if value.is_integer() else value


def refuse(constant):
    raise ValueError(constant)


def parse_sums(data):
    sums = {}
    for line in data.decode("utf-8", "replace").split("\n")[:-1]:
        match = re.fullmatch(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*)", line)
        if not match or match[2] in sums:
            raise Refused(SUMS, "corrupt")
        sums[match[2]] = match[1]
    if not sums or not data.endswith(b"\n"):
        raise Refused(SUMS, "corrupt")
    return sums


def check_file_set(directory, sums):
    own = {SUMS, SUMS + ".sig", SUMS + ".sigstore.json"}
    here = set(os.listdir(directory))
    findings = [(name, "missing") for name in sums if name not in here]
    for name in here:
        path = os.path.join(directory, name)
        half = re.fullmatch(r"(SHA256SUMS\.approval-[0-9a-f]{16}\.)(json|sig)", name)
        paired = half and half[1] + {"json": "sig", "sig": "json"}[half[2]] in here
        if name not in sums and name not in own and not paired:
            findings.append((name, "extra"))
        elif not is_plain(path):
            findings.append((name, "corrupt"))
        elif name not in sums and name != SUMS and os.path.getsize(path) > SMALL:
            findings.append((name, "size"))
    approvals = sorted(name for name in here if re.fullmatch(r"SHA256SUMS\.approval-[0-9a-f]{16}\.json", name))
    return findings + [(name, "extra") for name in approvals[MOST_APPROVALS:]]


# inventory.json

LAYOUT_NAME = re.compile(
    r"[A-Za-z0-9]+(?:(?:[-._:@+]|--|__)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--|__)[A-Za-z0-9]+)*)*"
)


def wrong(condition):
    if condition:
        raise Refused(INVENTORY, "corrupt")


def has(needed, optional=()):
    """An object with these fields, of which others may be there as well."""
    optional = dict(optional)

    def fits(value):
        return (
            isinstance(value, dict)
            and all(name in value and check(value[name]) for name, check in needed.items())
            and all(check(value[name]) for name, check in optional.items() if name in value)
        )

    return fits


def every(check):
    return lambda value: isinstance(value, list) and all(map(check, value))


def text(value):
    return isinstance(value, str)


def like(pattern):
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def size(value):
    return type(value) is int and 0 <= value < 2**53


digest = like(r"sha256:[0-9a-f]{64}")
sized = {"digest": digest, "size": size}
place = {"volume": size, "offset": size}
model = has(
    {
        "kind": like("model"),
        "repo": text,
        "commit": like("[0-9a-f]{40}"),
        "refs": every(text),
        "files": every(has({"path": text, **sized})),
        "tree": has(sized),
    },
    {"license": text},
)
image = has(
    {
        "kind": like("image"),
        "reference": text,
        "root": has({"mediaType": text, **sized}, {"artifactType": text}),
        "digests": every(digest),
    },
    {"to": text},
)
held_by_models = has({**sized, "key": text}, {"repository": text})
held_by_images = has({**sized, "repository": text}, {"key": text})
inventory_shape = has(
    {
        "schema": like("sie-mirror/inventory/v1"),
        "name": like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"),
        "tool": text,
        "items": every(lambda item: model(item) or image(item)),
        "blobs": every(has({"path": text, **sized, "parts": every(has({**place, "size": size}, {"digest": digest}))})),
        "links": every(has({"path": text, "target": text, **place})),
        "volumes": every(has({"name": like(r"[A-Za-z0-9][A-Za-z0-9._-]*\.tar"), **sized})),
    },
    {
        "base": has(
            {"name": text, "digest": digest, "held": every(lambda blob: held_by_models(blob) or held_by_images(blob))}
        )
    },
)


def check_path(path):
    parts = path.split("/")
    wrong(any("\ud800" <= char <= "\udfff" for char in path))
    wrong(len(path.encode("utf-16-le")) // 2 > 4096 or any(re.match("[A-Za-z]:", part) for part in parts))
    wrong(any(ord(char) < 0x20 or char in "\x7f\\" for char in path))
    wrong(any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts))


def fold(path):
    return unicodedata.normalize("NFC", path).lower()


def parents(path):
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def check_tree(paths):
    seen = set()
    for path in paths:
        check_path(path)
        wrong(fold(path) in seen)
        seen.add(fold(path))
    for path in paths:
        wrong(any(fold(parent) in seen for parent in parents(path)))


def link_end(path, target):
    """Where a link leads; None when it is one that may lead anywhere."""
    if target == "" or target.startswith("/"):
        return None
    where, down = path.split("/")[:-1], False
    for part in target.split("/"):
        if part == "..":
            if down or not where:
                return None
            where.pop()
        elif part not in ("", "."):
            where.append(part)
            down = True
    return "/".join(where)


def check_inventory(inventory, sums):
    wrong(not inventory_shape(inventory))
    blobs, links, volumes = inventory["blobs"], inventory["links"], inventory["volumes"]
    check_tree([entry["path"] for entry in blobs + links])
    link_paths = {fold(link["path"]) for link in links}
    for link in links:
        end = link_end(link["path"], link["target"])
        wrong(not end or not end.startswith(link["path"].split("/")[0] + "/"))
        check_path(end)
        wrong(any(fold(parent) in link_paths for parent in parents(end)))
    check_places(blobs, links, volumes)
    check_items(inventory)
    for volume in volumes:
        wrong(volume["digest"] != "sha256:" + sums.get(volume["name"], ""))


def check_places(blobs, links, volumes):
    check_tree([volume["name"] for volume in volumes])
    taken = []
    for blob in blobs:
        parts = blob["parts"]
        wrong(not parts or sum(part["size"] for part in parts) != blob["size"])
        wrong(len(parts) > 1 and any("digest" not in part for part in parts))
        taken += [(part["volume"], part["offset"] - BLOCK, part["offset"] + part["size"]) for part in parts]
    taken += [(link["volume"], link["offset"], link["offset"] + BLOCK) for link in links]
    before = (0, 0)
    for volume, start, end in sorted(taken):
        wrong(not 1 <= volume <= len(volumes) or start < 0 or end > volumes[volume - 1]["size"])
        wrong(volume == before[0] and start < before[1])
        before = (volume, end)


def check_items(inventory):
    held = inventory.get("base", {}).get("held", [])
    sizes = {blob["digest"]: blob["size"] for blob in held + inventory["blobs"]}
    for blob in held:
        if "key" in blob:
            check_path(blob["key"])
    for item in inventory["items"]:
        if item["kind"] == "image":
            wrong(any(not LAYOUT_NAME.fullmatch(item.get(field, "x")) for field in ("reference", "to")))
            wrong(item["root"]["digest"] not in item["digests"] or any(each not in sizes for each in item["digests"]))
            continue
        wrong(not re.fullmatch(r"(?:[A-Za-z0-9][A-Za-z0-9_.-]*/)?[A-Za-z0-9][A-Za-z0-9_.-]*", item["repo"]))
        wrong("--" in item["repo"])
        for ref in item["refs"]:
            check_path(ref)
        check_tree([file["path"] for file in item["files"]])
        wrong(any(sizes.get(file["digest"]) != file["size"] for file in item["files"] + [item["tree"]]))


# Volumes


def octal(number, width):
    digits = format(number, "o")
    if len(digits) < width - 1:
        return digits.rjust(width - 2, "0").encode() + b" \0"
    if len(digits) == width - 1:
        return digits.encode() + b"\0"
    return b"\x80" + number.to_bytes(width - 1, "big")


def field(text, width):
    """As many whole characters as fit, and zeros."""
    data = b""
    for char in text:
        encoded = char.encode("utf-8")
        if len(data) + len(encoded) > width:
            break
        data += encoded
    return data.ljust(width, b"\0")


def units(text, count):
    """The first UTF-16 code units; half a pair becomes U+FFFD."""
    return text.encode("utf-16-le")[: 2 * count].decode("utf-16-le", "replace")


def shortened(path):
    """Name, prefix, and whether something of the path was lost."""
    if len(path.encode()) < 100:
        return path, "", False
    path = path if "/" in path else f"./{path}"
    cuts = [place for place, char in enumerate(path) if char == "/" and len(path[:place].encode()) <= 155]
    if not cuts:
        return units(path, 99), "", True
    prefix, name = path[: cuts[-1]], path[cuts[-1] + 1 :]
    return (name, prefix, False) if len(name.encode()) <= 100 else (units(name, 99), prefix, True)


def block(name, prefix, mode, size, kind, target=""):
    head = field(name, 100) + mode + b"000000 \0" * 2 + octal(size, 12) + octal(0, 12)
    tail = kind + field(target, 100) + b"ustar\x0000" + bytes(64) + b"000000 \0" * 2 + field(prefix, 155) + bytes(12)
    return head + octal(sum(head) + sum(tail) + 8 * 0x20, 8) + tail


def record(key, value):
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def header(path, size, target=None):
    name, prefix, lost = shortened(path)
    link = target is not None
    plain = block(name, prefix, b"000777 \0" if link else b"000644 \0", size, b"2" if link else b"0", target or "")
    fits = size < 8 * 1024**3 and len((target or "").encode()) <= 100
    if fits and not lost and (name + prefix + (target or "")).isascii():
        return plain
    records = record("path", path) + (record("linkpath", target) if link else b"") + record("size", size)
    pax = block("PaxHeader/next", "", b"000644 \0", len(records), b"x")
    return pax + records + bytes(-len(records) % BLOCK) + plain


class Volume:
    """One pass over a volume: what is between the members is compared, the members go to their hashes."""

    def __init__(self, path, size):
        self.path = path
        self.size = size

    def read(self, members):
        """Yields each member with its sha256; ends with Refused at the first byte that is not in its place."""
        name = os.path.basename(self.path)
        with open(self.path, "rb") as file:
            end = 0
            for start, head, size, what in members:
                if start != end or file.read(len(head)) != head:
                    raise Refused(name, "corrupt")
                yield what, self.chunks(file, size)
                padding = -size % BLOCK
                if file.read(padding) != bytes(padding):
                    raise Refused(name, "corrupt")
                end += len(head) + size + padding
            if file.read() != bytes(2 * BLOCK):
                raise Refused(name, "corrupt")

    @staticmethod
    def chunks(file, size):
        while size > 0:
            chunk = file.read(min(size, 1024**2))
            if not chunk:
                return
            size -= len(chunk)
            yield chunk


def members_of(inventory):
    members = [[] for _ in inventory["volumes"]]
    for blob in inventory["blobs"]:
        count = len(blob["parts"])
        for index, part in enumerate(blob["parts"]):
            name = blob["path"] if count == 1 else f"{blob['path']}.part-{index + 1:04}-of-{count:04}"
            head = header(name, part["size"])
            what = (blob["path"], part.get("digest", blob["digest"]))
            members[part["volume"] - 1].append((part["offset"] - len(head), head, part["size"], what))
    for link in inventory["links"]:
        members[link["volume"] - 1].append((link["offset"], header(link["path"], 0, link["target"]), 0, None))
    for volume in members:
        volume.sort(key=lambda member: member[0])
    return members


def check_volumes(directory, inventory, known):
    """Findings, and the paths of what is not whole."""
    findings, bad = [], set()
    wholes, blamed = {}, []
    for volume, members in zip(inventory["volumes"], members_of(inventory)):
        name = volume["name"]
        path = os.path.join(directory, name)
        problem = known.get(name)
        if problem is None and os.path.getsize(path) != volume["size"]:
            problem = "size"
        try:
            if problem is not None:
                raise Refused(name, problem)
            for what, chunks in Volume(path, volume["size"]).read(members):
                hashed = hashlib.sha256()
                whole = wholes.setdefault(what[0], hashlib.sha256()) if what else None
                for chunk in chunks:
                    hashed.update(chunk)
                    whole.update(chunk)
                if what and "sha256:" + hashed.hexdigest() != what[1]:
                    blamed.append((name, what[0]))
        except Refused as refused:
            findings.append((name, refused.problem))
            if problem is not None:
                bad.update(what[0] for _, _, _, what in members if what)
    for blob in inventory["blobs"]:
        whole = wholes.get(blob["path"])
        if blob["path"] not in bad and whole and "sha256:" + whole.hexdigest() != blob["digest"]:
            volumes = [name for name, path in blamed if path == blob["path"]]
            findings += [(name, "corrupt") for name in volumes or [INVENTORY]]
            bad.add(blob["path"])
    return findings, bad


def damaged_items(inventory, bad):
    good = {blob["digest"] for blob in inventory["blobs"] if blob["path"] not in bad}
    lost = {blob["digest"] for blob in inventory["blobs"]} - good
    damaged = []
    for item in inventory["items"]:
        if item["kind"] == "image" and lost & set(item["digests"]):
            damaged.append(item["reference"])
        if item["kind"] == "model" and lost & {file["digest"] for file in item["files"] + [item["tree"]]}:
            damaged.append(f"{item['repo']}@{item['commit']}")
    return damaged


def check_bundle(directory, keys, required):
    sums_bytes = read_small(directory, SUMS)
    if keys:
        signers = {check_signature(directory, sums_bytes, keys)} | check_approvals(directory, sums_bytes, keys)
        if len(signers) < required:
            raise Refused(SUMS, "signature")
    sums = parse_sums(sums_bytes)
    findings = check_file_set(directory, sums)
    data = read_small(directory, INVENTORY)
    if hashlib.sha256(data).hexdigest() != sums.get(INVENTORY):
        raise Refused(INVENTORY, "corrupt")
    inventory = parse_json(data, INVENTORY)
    check_inventory(inventory, sums)
    volumes = {volume["name"] for volume in inventory["volumes"]}
    known = dict(findings)
    for name in set(sums) - volumes - {INVENTORY} - set(known):
        with open(os.path.join(directory, name), "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != sums[name]:
                findings.append((name, "corrupt"))
    more, bad = check_volumes(directory, inventory, known)
    return {
        "findings": sorted(set(findings + more)),
        "damaged": damaged_items(inventory, bad),
        "held": sorted({blob["digest"] for blob in inventory.get("base", {}).get("held", [])}),
    }


def read_key(path):
    with open(path, encoding="ascii") as file:
        return PublicKey(file.read())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("--key", action="append", default=[])
    parser.add_argument("--require", type=int, default=1)
    arguments = parser.parse_args()
    verdict = {"findings": [], "damaged": [], "held": []}
    try:
        verdict = check_bundle(arguments.bundle, [read_key(path) for path in arguments.key], arguments.require)
    except Refused as refused:
        verdict["findings"] = [(refused.file, refused.problem)]
    verdict["ok"] = not verdict["findings"]
    print(json.dumps(verdict))
    return 0 if verdict["ok"] else 4


if __name__ == "__main__":
    sys.exit(main())
