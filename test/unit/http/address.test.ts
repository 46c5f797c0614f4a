import { expect, it } from 'vitest';
import { maySend, type Reach, reachOf } from '../../../src/http/address.ts';

it.each<[string, Reach | undefined]>([
  ['http://169.254.169.254/', 'link-local'],
  ['http://2852039166/', 'link-local'],
  ['http://0xa9fea9fe/', 'link-local'],
  ['http://0251.0376.0251.0376/', 'link-local'],
  ['http://169.254.169.254./', 'link-local'],
  ['http://[fe80::1]/', 'link-local'],
  ['http://[febf::1]/', 'link-local'],
  ['http://[::ffff:169.254.169.254]/', 'link-local'],
  ['http://[::169.254.169.254]/', 'link-local'],
  ['http://[64:ff9b::169.254.169.254]/', 'link-local'],
  ['http://[2002:a9fe:a9fe::1]/', 'link-local'],
  ['http://[fd00:ec2::254]/', 'link-local'],
  ['http://metadata.google.internal/', 'link-local'],
  ['http://127.0.0.1/', 'loopback'],
  ['http://127.1/', 'loopback'],
  ['http://0.0.0.0/', 'loopback'],
  ['http://[::1]/', 'loopback'],
  ['http://[::]/', 'loopback'],
  ['http://[::ffff:127.0.0.1]/', 'loopback'],
  ['http://LOCALHOST./', 'loopback'],
  ['http://a.localhost/', 'loopback'],
  ['http://10.0.0.1/', 'private'],
  ['http://172.31.255.255/', 'private'],
  ['http://192.168.1.1/', 'private'],
  ['http://100.64.0.1/', 'private'],
  ['http://[fd12::1]/', 'private'],
  ['http://[::ffff:10.0.0.1]/', 'private'],
  ['http://172.32.0.1/', 'public'],
  ['http://8.8.8.8/', 'public'],
  ['http://[2606:4700::1]/', 'public'],
  ['http://[::ffff:8.8.8.8]/', 'public'],
  ['http://localhost.example/', undefined],
  ['http://10.example/', undefined],
])('%s is %s', (url, reach) => {
  expect(reachOf(new URL(url).hostname)).toBe(reach);
});

it('lets a server send us outwards only', () => {
  const reaches: Reach[] = ['link-local', 'loopback', 'private', 'public'];
  const allowed = reaches.map((from) => reaches.filter((to) => maySend(from, to)));

  expect(allowed).toEqual([
    ['link-local', 'loopback', 'private', 'public'],
    ['loopback', 'private', 'public'],
    ['private', 'public'],
    ['public'],
  ]);
});
