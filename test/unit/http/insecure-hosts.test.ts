import { expect, it } from 'vitest';
import { HttpClient } from '../../../src/http/client.ts';

it.each([
  ['registry.zone:5000', 'registry.zone:5000', 'http'],
  ['Registry.Zone', 'registry.zone:5000', 'http'],
  ['registry.zone:5000', 'registry.zone', 'https'],
  ['registry.zone:5000', 'registry.zone:5001', 'https'],
  ['[::1]:5000', '[::1]:5000', 'http'],
  ['[::1]:5000', '[0:0:0:0:0:0:0:1]:5000', 'http'],
  ['[0:0::1]', '[::1]:5000', 'http'],
  ['::1', '[::1]:5000', 'http'],
  ['FD00::2', '[fd00::2]', 'http'],
  ['[::1]:5000', '[::1]:5001', 'https'],
  ['[::1]', '[::2]:5000', 'https'],
  ['[::1', '[::1]', 'https'],
])('a host that is named as insecure is spoken to by plain HTTP however it is spelt: %s, %s', (named, host, scheme) => {
  expect(new HttpClient({ userAgent: 'test', insecureHosts: [named] }).schemeOf(host)).toBe(scheme);
});
