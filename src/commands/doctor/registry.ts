import type { ReceivedImage, Receipt } from '../../bundle/records/receipt.ts';
import type { Descriptor } from '../../core/descriptor.ts';
import { type MirrorError, toMirrorError } from '../../core/errors.ts';
import { limitTo } from '../../core/limit.ts';
import type { ContentSource } from '../../core/ports.ts';
import { expectationOf, readVerified } from '../../core/stream.ts';
import { plural } from '../../core/text.ts';
import type { FaultId } from '../../doctor/faults.ts';
import { faultAt, type Finding, notSeen, ok } from '../../doctor/finding.ts';
import { importImages, steps } from '../../doctor/names.ts';
import { hostOf } from '../../doctor/pod.ts';
import { directEndpoint } from '../../oci/access/access.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';
import { resilientSource } from '../../oci/registry/resilient.ts';
import { checkManifestSize, isIndex, isManifest, parseManifest } from '../../oci/types.ts';
import type { Context } from '../context.ts';
import { type Hosts, trustSteps, unreachable } from './hosts.ts';
import { stopped } from './not-lost.ts';

/** Looks for each image of the receipts where it was imported, or below `place`. @param place `HOST[:PORT][/PREFIX]` @throws E_USAGE */
export async function checkRegistry(
  place: string,
  receipts: readonly Receipt[],
  hosts: Hosts,
  context: Context,
): Promise<Finding[]> {
  context.report({ type: 'stage', text: `looking at ${place}` });
  const images = receipts.flatMap(({ images: all, targets }) =>
    all.map((image) => moved(image, targets.images, place)),
  );
  const names = new Set([hostOf(place)]);
  for (const { target } of images) names.add(hostOf(target));
  const findings: Finding[] = [];
  const open = new Set<string>();
  for (const host of names) {
    const shut = await registryReach(host, hosts, context);
    if (shut) findings.push(shut);
    else {
      open.add(host);
      findings.push(ok('registry', host, 'it answers'));
    }
  }
  if (images.length === 0)
    findings.push(notSeen('registry', 'images', 'whether all images are there', 'give `--receipt FILE`'));
  const slots = limitTo(context.slots);
  const found = await Promise.all(
    images.filter(({ target }) => open.has(hostOf(target))).map((image) => slots(() => checkImage(image, context))),
  );
  return [...findings, ...found.flat()];
}

/** Where an image is when the registry has been given another name since. */
function moved(image: ReceivedImage, before: string | undefined, now: string): ReceivedImage {
  if (before === undefined || !image.target.startsWith(`${before}/`)) return image;
  return { ...image, target: `${now}${image.target.slice(before.length)}` };
}

async function registryReach(host: string, hosts: Hosts, context: Context): Promise<Finding | undefined> {
  const url = new URL('/v2/', directEndpoint(host, context.http).origin);
  const error = await hosts.reach(url);
  const change = 'if that is not the registry, name the right one: --images HOST/PREFIX';
  return error && unreachable('registry', url, error, change);
}

/** One image with every platform and every blob of it. */
async function checkImage(image: ReceivedImage, context: Context): Promise<Finding[]> {
  const reference = parseReference(image.target);
  try {
    const registry = await context.registry(reference.registry, 'source');
    const source = resilientSource(registry.repository(reference.repository), context.retry);
    const root = await source.resolve(reference.tag ?? image.digest);
    if (root.digest !== image.digest)
      return [
        faultAt(
          'registry',
          image.target,
          'image-other',
          `the tag names \`${root.digest}\`, imported was \`${image.digest}\``,
          steps(
            importImages,
            `where the other one has to stay, name this one by its digest in the values: ${reference.registry}/${reference.repository}@${image.digest}`,
          ),
        ),
      ];
    const look = new ImageLook(source, image);
    await look.walk(root, []);
    return look.findings.length > 0
      ? look.findings
      : [ok('registry', image.target, `\`${image.digest}\`, ${plural(look.seen.size, 'object')} with all platforms`)];
  } catch (error) {
    return [imageFault(toMirrorError(error), image, reference)];
  }
}

class ImageLook {
  readonly findings: Finding[] = [];
  readonly seen = new Set<string>();
  readonly #source: ContentSource;
  readonly #image: ReceivedImage;

  constructor(source: ContentSource, image: ReceivedImage) {
    this.#source = source;
    this.#image = image;
  }

  /** @param path platforms on the way from the root */
  async walk(descriptor: Descriptor, path: readonly string[]): Promise<void> {
    if (this.seen.has(descriptor.digest)) return;
    this.seen.add(descriptor.digest);
    if (!isManifest(descriptor)) {
      if (!(await this.#source.exists(descriptor)))
        this.#missing('image-blob', `the blob \`${descriptor.digest}\``, path);
      return;
    }
    const bytes = await this.#manifest(descriptor);
    if (bytes === undefined) {
      this.#missing('image-platform', `the manifest \`${descriptor.digest}\``, path);
      return;
    }
    const { manifests, blobs } = parseManifest(bytes, descriptor.mediaType, this.#image.target);
    for (const each of isIndex(descriptor) ? manifests : [...manifests, ...blobs])
      await this.walk(each, each.platform ? [...path, formatPlatform(each.platform)] : path);
  }

  async #manifest(descriptor: Descriptor): Promise<Uint8Array | undefined> {
    checkManifestSize(descriptor, descriptor.digest);
    try {
      // That it has this digest is the word of the registry.
      const content = await this.#source.fetch(descriptor);
      return await readVerified(content, expectationOf(descriptor));
    } catch (error) {
      if (toMirrorError(error).code === 'E_NOT_FOUND') return undefined;
      throw error;
    }
  }

  #missing(fault: 'image-blob' | 'image-platform', what: string, path: readonly string[]): void {
    const platform = path.length === 0 ? '' : ` for ${path.join(', ')}`;
    this.findings.push(
      faultAt(
        'registry',
        this.#image.target,
        fault,
        `${what}${platform} is not in the registry`,
        `${importImages} --verify`,
      ),
    );
  }
}

function imageFault(error: MirrorError, image: ReceivedImage, { registry, repository }: Reference): Finding {
  const at = (fault: FaultId, fix: string): Finding => faultAt('registry', image.target, fault, error.message, fix);
  const { code, hint } = error;
  if (code === 'E_NOT_FOUND') return at('image-missing', importImages);
  if (code === 'E_AUTH')
    return at(
      'registry-denied',
      steps(
        `with a user who may pull \`${repository}\`: docker login ${registry}`,
        `podman, skopeo and crane log in as well; without any of them: mkdir -p ~/.docker && printf '{"auths":{"${registry}":{"auth":"%s"}}}' "$(printf %s 'USER:PASSWORD' | base64 -w0)" > ~/.docker/config.json`,
      ),
    );
  if (code === 'E_TLS') return at('registry-tls', trustSteps(new URL(`https://${registry}`), hint));
  if (['E_NETWORK', 'E_REMOTE', 'E_RATE_LIMIT', 'E_PROTOCOL'].includes(code))
    return at('registry-unreachable', hint ?? `curl -v https://${registry}/v2/`);
  if (error.exit === 4) return at('image-damaged', `${importImages} --verify`);
  return stopped('registry', image.target, error);
}
