import type { CarriedNode } from './carried.ts';
import { bundleFiles, type Inventory } from '../records/inventory.ts';

/**
 * VERIFY.md: how to check and unpack this very bundle with what every host has. Each block is one that can be pasted
 * into a shell in the bundle's directory; PUBLIC_KEY names the key file that came on another way.
 */
export function verifyGuide(
  inventory: Inventory,
  keyFingerprint: string | undefined,
  nodes: readonly CarriedNode[] = [],
): string {
  const keyFlag = keyFingerprint === undefined ? '' : ' --key "$PUBLIC_KEY"';
  const split = inventory.blobs.find(({ parts }) => parts.length > 1);
  const sections = [
    `# How to verify and use the bundle \`${inventory.name}\``,
    `Made by ${inventory.tool}. ${inventory.volumes.length} volume(s), ${inventory.items.length} item(s). Nothing here needs the internet.`,
    `Run the blocks below in this directory, after setting ${keyFingerprint === undefined ? '' : 'PUBLIC_KEY to the public key file of the maker and '}UNPACK_DIR to an empty directory.`,
    ...(keyFingerprint === undefined ? ['This bundle is not signed.'] : signature(keyFingerprint)),
    '## 2. Every byte',
    block('sha256sum', `sha256sum -c ${bundleFiles.sums}`),
    `Nothing else may be in this directory but \`${bundleFiles.sums}\` itself${keyFingerprint === undefined ? '' : ' and its signatures'}. What this names does not belong to the bundle:`,
    block('file set', strangersScript),
    ...(inventory.volumes.length > 1 ? severalMedia(inventory) : []),
    '## 3. With the tool in this bundle (Node.js >= 20.19 and nothing else)',
    block('tool', `node ${bundleFiles.tool} verify .${keyFlag}`),
    ...(inventory.volumes.length > 1
      ? [
          `A bundle on several media: add \`--from DIR\` for each other one that is at hand, or \`--partial\` to check what is on this one.`,
        ]
      : []),
    ...withNodes(nodes, keyFlag),
    `The same tool brings it into the zone: \`node ${bundleFiles.tool} import . --help\`. What it is made of, and under which licences: \`${bundleFiles.licences}\`.`,
    '## 4. Unpack by hand',
    `Each volume is a complete tar. All of them into one directory give a Hugging Face cache in \`hub/\` and an OCI image layout in \`oci/\`. tar notices a volume that was cut, and stops there, but no byte that was changed: that is what step 2 is for.`,
    block('unpack', `(for volume in ${inventory.name}.*.tar; do tar -xf "$volume" -C "$UNPACK_DIR" || exit 1; done)`),
    ...(inventory.base
      ? [
          `This is a delta: it leaves out ${inventory.base.held.length} blob(s) that the zone has from \`${inventory.base.name}\`. Unpacked by hand it is whole only where they are; \`import\` puts both together.`,
        ]
      : []),
    ...(split
      ? [
          'Files that are larger than a volume come in parts; `cat` joins them when all volumes are unpacked:',
          block('join', joinScript),
        ]
      : []),
    `Models: point HF_HUB_CACHE at \`hub/\` and set HF_HUB_OFFLINE=1.`,
    ...imageHints(inventory),
  ];
  return `${sections.join('\n\n')}\n`;
}

function signature(keyFingerprint: string): string[] {
  return [
    '## 1. The signature, before anything else',
    `The public key must reach you on another way than this medium, and so must its fingerprint: compare it with what \`sie-mirror keygen\` printed for the maker. (The one that was used here: \`${keyFingerprint}\`.)`,
    block('fingerprint', `openssl pkey -pubin -in "$PUBLIC_KEY" -outform DER | openssl dgst -sha256 -r`),
    block(
      'openssl',
      `base64 -d ${bundleFiles.signature} > "\${TMPDIR:-/tmp}/sums.der"\nopenssl dgst -sha256 -verify "$PUBLIC_KEY" -signature "\${TMPDIR:-/tmp}/sums.der" ${bundleFiles.sums}`,
    ),
    'Who approved it after its maker has signed a statement, with a key that must reach you in the same way (set APPROVER_KEY to it):',
    block(
      'approval',
      `for statement in ${bundleFiles.sums}.approval-*.json; do
  [ -e "$statement" ] && [ -n "\${APPROVER_KEY:-}" ] || continue
  base64 -d "\${statement%json}sig" > "\${TMPDIR:-/tmp}/approval.der" &&
    openssl dgst -sha256 -verify "$APPROVER_KEY" -signature "\${TMPDIR:-/tmp}/approval.der" "$statement" &&
    grep -q "$(sha256sum ${bundleFiles.sums} | cut -d ' ' -f 1)" "$statement" && cat "$statement"
done`,
    ),
    'Or with cosign, either form:',
    block(
      'cosign',
      `cosign verify-blob --key "$PUBLIC_KEY" --signature ${bundleFiles.signature} --insecure-ignore-tlog ${bundleFiles.sums}\ncosign verify-blob --key "$PUBLIC_KEY" --bundle ${bundleFiles.sigstore} --insecure-ignore-tlog ${bundleFiles.sums}`,
    ),
  ];
}

/** A drive may be mounted so that nothing on it runs: the program is copied off it first. */
function withNodes(nodes: readonly CarriedNode[], keyFlag: string): string[] {
  if (nodes.length === 0) return [];
  const blocks = nodes.map(({ platform, name }) =>
    platform.startsWith('win-')
      ? `\`\`\`powershell\n# tool with ${name}\n.\\${name} ${bundleFiles.tool} verify .${keyFlag.replace('$PUBLIC_KEY', '$env:PUBLIC_KEY')}\n\`\`\``
      : block(
          `tool with ${name}`,
          `NODE="$(mktemp -d)/node"
cp ${name} "$NODE" && chmod 755 "$NODE"
"$NODE" ${bundleFiles.tool} verify .${keyFlag}`,
        ),
  );
  return [
    'This bundle brings Node.js along; where none is installed, run the block of your platform instead, after the sums of step 2 have been found right:',
    ...blocks,
  ];
}

/** Each medium says the same: which volumes it has stands in no file of the bundle. */
function severalMedia({ volumes }: Inventory): string[] {
  const [first, last] = [volumes[0]?.name ?? '', volumes.at(-1)?.name ?? ''];
  return [
    `There are ${volumes.length} volumes, \`${first}\` to \`${last}\`. They may lie on several media, each with a copy of everything else: then this block checks what is on one of them, and every volume has to be found right on one.`,
    // `--ignore-missing` is not everywhere: neither BusyBox nor older coreutils have it.
    block(
      'sha256sum of one medium',
      `while read -r sum name; do [ ! -e "$name" ] || echo "$sum  $name"; done < ${bundleFiles.sums} | sha256sum -c -`,
    ),
  ];
}

/** With `--all`, or only one platform goes and the digest changes. */
function imageHints({ items }: Inventory): string[] {
  const names = items.flatMap((item) => (item.kind === 'image' ? [item.reference] : []));
  if (names.length === 0) return [];
  const commands = names.map(
    (name) => `    skopeo copy --all --preserve-digests oci:"$UNPACK_DIR"/oci:${name} docker://REGISTRY/REPOSITORY:TAG`,
  );
  return ['Images, with unchanged digests (their signatures and referrers need the tool):', commands.join('\n')];
}

const strangersScript = `for file in * .[!.]* ..?*; do
  case "$file" in
    '*' | '.[!.]*' | '..?*' | ${bundleFiles.sums} | ${bundleFiles.signature} | ${bundleFiles.sigstore}) ;;
    ${bundleFiles.sums}.approval-????????????????.json | ${bundleFiles.sums}.approval-????????????????.sig) ;;
    *) FILE="$file" awk 'substr($0, 67) == ENVIRON["FILE"] { found = 1 } END { exit !found }' ${bundleFiles.sums} || printf '%s\\n' "$file" ;;
  esac
done`;

/**
 * Where the other parts are on media that come later, nothing is joined yet. Parts are files: a link that is called like
 * one is a file of a model, which has that name.
 */
const joinScript = `find "$UNPACK_DIR" -type f -name '*.part-0001-of-*' | while read -r first; do
  whole="\${first%.part-0001-of-*}"
  set -- "$whole".part-*-of-*
  if [ "$#" -eq "$(expr "\${first##*-of-}" + 0)" ]; then
    cat "$@" > "$whole" && rm "$@"
  else
    echo "$whole: $# parts of \${first##*-of-}, unpack the other volumes first"
  fi
done`;

function block(name: string, script: string): string {
  return `\`\`\`sh\n# ${name}\n${script}\n\`\`\``;
}
