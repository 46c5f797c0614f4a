import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { workOf } from '../../../src/sie/work-counters.ts';
import { projectRoot } from '../../support/cli.ts';

const real = readFileSync(join(projectRoot, 'fixtures/worker-metrics.txt'), 'utf8');

it.each([
  ['the queue and its own requests, but not those that failed', 'BAAI/bge-m3', 5],
  ['a model whose name has to be escaped', 'odd "name" \\ and\nlines', 1],
  ['a model that was never asked', 'BAAI/bge-m', 0],
])('counts %s', (_, model, work) => {
  expect(workOf(model, real)).toBe(work);
});

it('sees no work where the counters are not there', () => {
  const gateway = '# TYPE sie_gateway_requests_total counter\nsie_gateway_requests_total{endpoint="encode"} 4\n';
  expect(workOf('BAAI/bge-m3', gateway)).toBeUndefined();
  expect(workOf('BAAI/bge-m3', '')).toBeUndefined();
  expect(workOf('BAAI/bge-m3', '<html>login</html>')).toBeUndefined();
});

it('sees counters that were never moved', () => {
  expect(workOf('BAAI/bge-m3', '# TYPE sie_requests_total counter\n')).toBe(0);
});
