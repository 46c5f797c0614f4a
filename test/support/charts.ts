import { gzipSync } from 'node:zlib';
import { buildArtifact, type BuiltImage } from './images.ts';
import { tarOf } from './tar.ts';

/** A chart as `helm push` makes it. */
export function helmChart(): BuiltImage {
  return buildArtifact({
    seed: 'chart',
    config: {
      mediaType: 'application/vnd.cncf.helm.config.v1+json',
      bytes: Buffer.from(JSON.stringify(aboutChart('demo', '0.1.0'))),
    },
    layers: [{ mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', bytes: chartArchive() }],
  });
}

/** The `.tgz` of a small chart. */
export function chartArchive(name = 'demo', version = '0.1.0'): Buffer {
  const yaml = Object.entries(aboutChart(name, version)).map(([key, value]) => `${key}: ${value}\n`);
  return gzipSync(tarOf([{ path: `${name}/Chart.yaml`, bytes: Buffer.from(yaml.join('')) }]), { level: 0 });
}

function aboutChart(name: string, version: string): Record<string, string> {
  return { apiVersion: 'v2', name, version, description: 'A chart for tests' };
}
