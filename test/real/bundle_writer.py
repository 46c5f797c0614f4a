"""Writes a bundle of format 1 of a store of models: from docs/bundle-format.md alone, with Python's standard library and openssl.

    python3 bundle_writer.py STORE OUT NAME VOLUME_SIZE PRIVATE_KEY.pem
"""

import hashlib
import json
import os
import re
import subprocess
import sys

from bundle_reader import BLOCK, INVENTORY, SUMS, b64, header

END = bytes(2 * BLOCK)


def code_units(path):
    return path.encode("utf-16-be")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def entries_of(store):
    """Path, content and link target (one of both) of all that is in the store, in the order of the members."""
    found = []
    for folder, folders, files in os.walk(store):
        for name in files + [each for each in folders if os.path.islink(os.path.join(folder, each))]:
            full = os.path.join(folder, name)
            path = os.path.relpath(full, store)
            if os.path.islink(full):
                found.append((path, None, os.readlink(full)))
            elif not os.path.basename(path).startswith("."):
                found.append((path, read(full), None))
    return sorted(found, key=lambda entry: code_units(entry[0]))


class Volumes:
    def __init__(self, out, name, limit):
        self.out, self.name, self.limit = out, name, limit
        self.done, self.blobs, self.links = [], [], []
        self.content = b""

    def add(self, path, content, target):
        head = header(path, len(content or b""), target)
        if not self.fits(head, content or b"", empty=True):
            return self.split(path, content)
        if not self.fits(head, content or b""):
            self.close()
        if target is None:
            self.blobs.append({**self.described(path, content), "parts": [self.put(head, content)]})
        else:
            self.links.append({"path": path, "target": target, **self.place()})
            self.content += head

    def split(self, path, content):
        self.close()
        room = self.limit - len(END) - len(header(f"{path}.part-0001-of-0001", 1))
        room -= room % BLOCK
        pieces = [content[start : start + room] for start in range(0, len(content), room)]
        parts = []
        for index, piece in enumerate(pieces):
            head = header(f"{path}.part-{index + 1:04}-of-{len(pieces):04}", len(piece))
            if not self.fits(head, piece):
                self.close()
            parts.append({**self.put(head, piece), "digest": "sha256:" + sha256(piece)})
        self.blobs.append({**self.described(path, content), "parts": parts})

    def fits(self, head, content, empty=False):
        used = 0 if empty else len(self.content)
        return used + len(head) + len(content) + -len(content) % BLOCK + len(END) <= self.limit

    def place(self):
        return {"volume": len(self.done) + 1, "offset": len(self.content)}

    def put(self, head, content):
        self.content += head
        place = self.place()
        self.content += content + bytes(-len(content) % BLOCK)
        return {**place, "size": len(content)}

    def described(self, path, content):
        return {"path": path, "digest": "sha256:" + sha256(content), "size": len(content)}

    def close(self):
        if not self.content:
            return
        name = f"{self.name}.{len(self.done) + 1:04}.tar"
        whole = self.content + END
        write(os.path.join(self.out, name), whole)
        self.done.append({"name": name, "size": len(whole), "digest": "sha256:" + sha256(whole)})
        self.content = b""


def models_of(entries):
    """Every commit that a ref leads to."""
    contents = {path: content for path, content, target in entries if target is None}
    targets = {path: os.path.normpath(os.path.join(os.path.dirname(path), target)) for path, _, target in entries if target}
    models = {}
    for path, content in contents.items():
        match = re.fullmatch("hub/(models--[^/]+)/refs/(.+)", path)
        if match:
            models.setdefault((match[1], content.decode()), []).append(match[2])
    for (folder, commit), refs in models.items():
        snapshot, tree = f"hub/{folder}/snapshots/{commit}/", contents[f"hub/{folder}/trees/{commit}.json"]
        files = [(path[len(snapshot) :], contents[targets[path]]) for path in targets if path.startswith(snapshot)]
        yield {
            "kind": "model",
            "repo": folder[len("models--") :].replace("--", "/"),
            "commit": commit,
            "refs": sorted(refs),
            "files": [{"path": path, "digest": "sha256:" + sha256(data), "size": len(data)} for path, data in files],
            "tree": {"digest": "sha256:" + sha256(tree), "size": len(tree)},
        }


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.PIPE).stdout


def seal(out, key):
    lines = [f"{sha256(read(os.path.join(out, name)))}  {name}\n" for name in sorted(os.listdir(out))]
    sums, path = "".join(lines).encode(), os.path.join(out, SUMS)
    write(path, sums)
    signature = b64(openssl("dgst", "-sha256", "-sign", key, path))
    public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")
    sigstore = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": b64(hashlib.sha256(public).digest())}, "tlogEntries": []},
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(sums).digest())},
            "signature": signature,
        },
    }
    write(path + ".sig", f"{signature}\n".encode())
    write(path + ".sigstore.json", json.dumps(sigstore).encode())


def main():
    store, out, name, limit, key = sys.argv[1:]
    os.makedirs(out)
    entries = entries_of(store)
    volumes = Volumes(out, name, int(limit))
    for entry in entries:
        volumes.add(*entry)
    volumes.close()
    inventory = {
        "schema": "sie-mirror/inventory/v1",
        "name": name,
        "tool": "bundle_writer.py",
        "items": list(models_of(entries)),
        "blobs": volumes.blobs,
        "links": volumes.links,
        "volumes": volumes.done,
    }
    write(os.path.join(out, INVENTORY), json.dumps(inventory).encode())
    write(os.path.join(out, "VERIFY.md"), b"sha256sum -c SHA256SUMS\n")
    seal(out, key)


if __name__ == "__main__":
    main()
