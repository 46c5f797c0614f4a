import type { NamedPart } from './s3-store.ts';
/** The namespace of every answer but errors. */
const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

/** An element with text in it. */
export function element(name: string, value: string | number | boolean): string {
  return `<${name}>${escapeXml(String(value))}</${name}>`;
}

/** A whole answer; `root` gets the namespace of S3. */
export function resultXml(root: string, children: readonly string[]): string {
  return xmlDocument(`<${root} xmlns="${NAMESPACE}">${children.join('')}</${root}>`);
}

/** Puts the XML declaration in front. */
export function xmlDocument(inner: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${inner}`;
}

/** Names as `encoding-type=url` gives them: slashes stay, a space becomes a plus. */
export function encodeName(name: string, encoding: string | null): string {
  if (encoding !== 'url') return name;
  return encodeURIComponent(name).replaceAll('%2F', '/').replaceAll('%20', '+');
}

/** Parts that a CompleteMultipartUpload names; undefined when the document is not one. */
export function readPartList(xml: string): NamedPart[] | undefined {
  if (!/<CompleteMultipartUpload[\s>][\s\S]*<\/CompleteMultipartUpload>\s*$/.test(xml)) return undefined;
  const parts = [...xml.matchAll(/<Part>([\s\S]*?)<\/Part>/g)].map(([, part = '']) => ({
    number: Number(/<PartNumber>(\d+)<\/PartNumber>/.exec(part)?.[1]),
    etag: (/<ETag>([\s\S]*?)<\/ETag>/.exec(part)?.[1] ?? '').replaceAll(/&quot;|&#34;|"/g, ''),
    crc32: /<ChecksumCRC32>([\w+/=]*)<\/ChecksumCRC32>/.exec(part)?.[1],
  }));
  return parts.length > 0 && parts.every((part) => part.number > 0 && part.etag !== '') ? parts : undefined;
}

function escapeXml(text: string): string {
  const isSpecial = (letter: string): boolean => '&<>"'.includes(letter) || letter < ' ';
  return Array.from(text, (letter) => (isSpecial(letter) ? `&#${letter.codePointAt(0)};` : letter)).join('');
}
