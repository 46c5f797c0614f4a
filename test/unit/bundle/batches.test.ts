import { expect, it } from 'vitest';
import { BatchBuilder } from '../../../src/bundle/writing/batches.ts';
import { headerOf, planVolumes } from '../../../src/bundle/writing/layout.ts';
import type { Batch } from '../../../src/bundle/writing/volume-thread.ts';

/** Links with names that need more than one block each. */
function links(count: number): ReturnType<typeof planVolumes>[number]['members'] {
  const entries = Array.from({ length: count }, (_, index) => ({ path: `${'folder/'.repeat(40)}${index}`, link: 'x' }));
  const [volume] = planVolumes('v', entries, 2 ** 40);
  if (!volume) throw new Error('there is no volume');
  return volume.members;
}

const bytesOf = ({ literal }: Batch): Buffer => Buffer.from(literal);

it('a batch stays what it was while the next one is made', () => {
  const builder = new BatchBuilder();
  const [first, second] = links(2);
  if (!first || !second) throw new Error('there are no members');
  builder.link(first);
  const batch = builder.take();
  builder.link(second);

  expect(bytesOf(batch)).toEqual(headerOf(first));
  expect(bytesOf(builder.take())).toEqual(headerOf(second));
});

it('a batch that is larger than usual is whole', () => {
  const builder = new BatchBuilder();
  const members = [...links(1000)];
  for (const member of members) builder.link(member);

  expect(bytesOf(builder.take()).equals(Buffer.concat(members.map(headerOf)))).toBe(true);
});
