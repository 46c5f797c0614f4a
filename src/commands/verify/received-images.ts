import type { ReceivedImage, Receipt } from '../../bundle/records/receipt.ts';

/** What a receipt has at one place of a registry. */
export interface ReceivedAt {
  /** `HOST[:PORT][/PREFIX]`, without a slash at its end. */
  place: string;
  kind: 'images' | 'charts' | 'models';
  images: ReceivedImage[];
}

/** Images, charts and models of a receipt by the places in registries that they were imported to. */
export function receivedByPlace({ targets, images, models }: Receipt): ReceivedAt[] {
  const asImages = models.flatMap(({ repo, commit, image }) =>
    image
      ? [{ reference: `${repo}@${commit}`, target: image.reference, digest: image.digest, digests: image.digests }]
      : [],
  );
  const places: ReceivedAt[] = [
    { kind: 'images', place: plain(targets.images), images: images.filter(({ chart }) => !chart) },
    { kind: 'charts', place: plain(targets.charts), images: images.filter(({ chart }) => chart) },
    { kind: 'models', place: plain(targets.models), images: asImages },
  ];
  return places.filter((each) => each.images.length > 0);
}

function plain(target = ''): string {
  return target.replace(/^oci:\/\//, '').replace(/\/+$/, '');
}
