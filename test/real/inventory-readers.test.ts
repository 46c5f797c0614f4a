import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type BundleItem, type Inventory, inventorySchemaId } from '../../src/bundle/records/inventory.ts';
import { parseInventory } from '../../src/bundle/records/inventory-check.ts';
import { sha256 } from '../../src/core/digest.ts';
import { MirrorError } from '../../src/core/errors.ts';
import { temporaryDirectory } from '../support/place.ts';
import { tryCommand } from './command.ts';
import { findPythons } from './python.ts';

/** Reads an inventory in each line of a file, and says of each whether it is one that can be believed. */
const driver = `
import json, sys
sys.path.insert(0, sys.argv[1])
from bundle_reader import INVENTORY, Refused, check_inventory, parse_json
for line in open(sys.argv[2], "rb"):
    try:
        inventory = parse_json(line, INVENTORY)
        volumes = inventory.get("volumes") if isinstance(inventory, dict) else None
        named = [volume for volume in volumes if isinstance(volume, dict)] if isinstance(volumes, list) else []
        check_inventory(inventory, {str(each.get("name")): str(each.get("digest"))[7:] for each in named})
        print("good")
    except Refused:
        print("refused")
`;

const [weights, tree, held] = ['weights', 'tree', 'held'].map((text) => ({ digest: sha256(text), size: 1000 }));

/** With everything that an inventory may have, in two volumes. */
function sample(): Inventory {
  const commit = 'a'.repeat(40);
  const items = [
    {
      kind: 'model',
      repo: 'org/name',
      commit,
      license: 'mit',
      refs: ['main'],
      files: [
        { path: 'w.bin', ...weights },
        { path: 'd/e.txt', ...held },
      ],
      tree,
    },
    {
      kind: 'image',
      reference: 'r.example/a:t',
      to: 'a',
      root: { mediaType: 'text/x', artifactType: 'text/y', ...weights },
      digests: [weights?.digest],
    },
  ];
  return {
    schema: inventorySchemaId,
    name: 'b',
    tool: 'x',
    base: {
      name: 'a',
      digest: sha256('base'),
      held: [
        { ...held, key: 'models--a/x' },
        { ...held, repository: 'r.example/a' },
      ],
    } as Inventory['base'],
    items: items as BundleItem[],
    blobs: [
      { path: 'hub/m/blobs/w', ...weights, parts: [{ volume: 1, offset: 1024, size: 1000 }] },
      {
        path: 'oci/t',
        ...tree,
        parts: [
          { volume: 1, offset: 2560, size: 512, digest: sha256('1') },
          { volume: 2, offset: 512, size: 488, digest: sha256('2') },
        ],
      },
    ] as Inventory['blobs'],
    links: [{ path: 'hub/m/snapshots/c/w.bin', target: '../../blobs/w', volume: 1, offset: 0 }],
    volumes: [
      { name: 'b.0001.tar', size: 5120, digest: sha256('v1') },
      { name: 'b.0002.tar', size: 2560, digest: sha256('v2') },
    ],
  };
}

/** What may stand in the place of anything, as JSON. */
const values = [
  ...String.raw`null true 0 -0 -1 1 1.5 1e3 1000.0 5e2 9007199254740991 9007199254740992 1e400 [] {} [null] [[]]
    "x" "" "." ".." "a/../b" "/a" "a/" "a//b" "C:x" "a/C:x" "a:b" "ab:c" "a\\b" "a\u0000" "a\u001b[0m" "a\u007f" "a\u0085"
    "a\u202e" "\ud800" "\ud83d\ude00" "hub/m/blobs/w" "HUB/M/blobs/W" "hub/m/blobs/w/x" "hub/m" "HUB" "d/E.TXT"
    "b.0002.tar" "B.0001.TAR" "\u00e4" "a\u0308" "\u212a" "\u0130" "org/m--x" "-a" "a/b/c" "r.example/A:t@sha256:1" "a..b"
    "../w" "../../../../x" "x/../y" "../snapshots/c/w.bin/x"`.split(/\s+/),
  ...['x'.repeat(255), 'x'.repeat(256), `${'y/'.repeat(2047)}zz`, `${'y/'.repeat(2048)}z`].map((text) => `"${text}"`),
  ...[`sha256:${'0'.repeat(64)}`, `SHA256:${'0'.repeat(64)}`, `sha512:${'0'.repeat(128)}`].map((text) => `"${text}"`),
];

/** Each place in a document, by its keys. */
function* placesIn(value: unknown, place: string[] = []): Generator<string[]> {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, each] of Object.entries(value)) {
    yield [...place, key];
    yield* placesIn(each, [...place, key]);
  }
}

/** A document in which something is gone, stands there twice, or is something else. */
function* changed(): Generator<string> {
  for (const place of placesIn(sample()))
    for (const value of [undefined, 'twice', ...values]) {
      const document = sample();
      const last = place.at(-1) ?? '';
      let parent = document as unknown as Record<string, unknown>;
      for (const key of place.slice(0, -1)) parent = parent[key] as Record<string, unknown>;
      if (value === 'twice') {
        if (!Array.isArray(parent)) continue;
        parent.push(parent[Number(last)]);
      } else if (value !== undefined) parent[last] = mark;
      else if (Array.isArray(parent)) parent.splice(Number(last), 1);
      else delete parent[last];
      yield JSON.stringify(document).replace(`"${mark}"`, () => value ?? '');
    }
}

/** What readers of JSON make different things of, where a reader of inventories would not look. */
function* ambiguous(): Generator<string> {
  const within = (json: string): string => JSON.stringify(sample()).replace('{', `{"unknown":${json},`);
  for (const depth of [63, 64, 5000]) yield within(`${'['.repeat(depth)}${']'.repeat(depth)}`);
  for (const json of ['{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '{"__proto__":1,"__proto__":2}', '{"a":{"a":1}}'])
    yield within(json);
}

const mark = 'what is to be something else';

function isGood(text: string): boolean {
  try {
    parseInventory([Buffer.from(text)]);
    return true;
  } catch (error) {
    if (error instanceof MirrorError && error.code === 'E_CORRUPT') return false;
    throw error;
  }
}

it('a reader that was written from the specification believes the same inventories as ours, whatever is changed in one', async () => {
  await using place = await temporaryDirectory();
  const texts = [JSON.stringify(sample()), ...ambiguous(), ...changed()];
  const file = join(place.path, 'inventories');
  await writeFile(file, `${texts.join('\n')}\n`);
  const python = (await findPythons())[0]?.path ?? '';

  const { stdout, stderr } = await tryCommand(python, ['-c', driver, import.meta.dirname, file]);

  const theirs = stdout.trimEnd().split('\n');
  expect(theirs, stderr).toHaveLength(texts.length);
  const differing = texts.filter((text, index) => isGood(text) !== (theirs[index] === 'good'));
  expect(differing.slice(0, 5)).toEqual([]);
  expect([theirs[0], theirs.filter((word) => word === 'good').length > 100]).toEqual(['good', true]);
});
