import { describe, expect, it } from 'vitest';
import { Warnings, warningsIn } from '../../../src/oci/registry/warnings.ts';

describe('the header Warning', () => {
  it.each<[string, string[]]>([
    ['299 - "closes on Friday"', ['closes on Friday']],
    ['299 - "one", 299 - "two, with a comma"', ['one', 'two, with a comma']],
    ['299 - "with \\"quotes\\" in it"', ['with "quotes" in it']],
    ['299 - "with "bare quotes""', ['with "bare quotes"']],
    ['110 cache "Response is Stale"', []],
    ['110 cache "stale", 299 - "ours"', ['ours']],
    ['299 - ""', []],
    ['299 - "never closed', []],
    ['', []],
  ])('%j says %j', (header, texts) => {
    expect(warningsIn(header)).toEqual(texts);
  });
});

describe('what a registry wants users to know', () => {
  const noted = (...texts: string[]): string[] => {
    const told: string[] = [];
    const warnings = new Warnings((text) => told.push(text));
    for (const text of texts)
      warnings.note('r.zone', { headers: { warning: `299 - "${text}"` } }, (said) => said.replaceAll('canary', '***'));
    return told;
  };

  it('is told once', () => {
    expect(noted('a', 'b', 'a')).toEqual(['`r.zone` says: a', '`r.zone` says: b']);
  });

  it('brings no secret to light, and no control characters to a terminal', () => {
    expect(noted('canary \u001B[2J')).toEqual(['`r.zone` says: *** \\u001b[2J']);
  });

  it('does not fill the screen', () => {
    expect(
      noted(...Array.from({ length: 1000 }, (_, index) => `${index} ${'x'.repeat(5000)}`)).join('').length,
    ).toBeLessThan(6000);
  });
});
