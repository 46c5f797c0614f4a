import { expect, it } from 'vitest';
import { type Challenge, parseChallenges } from '../../../src/oci/access/auth.ts';

const bearer = (parameters: Record<string, string>): Challenge => ({ scheme: 'bearer', parameters });

it.each<[string, string, Challenge[]]>([
  ['nothing', '', []],
  ['a scheme alone', 'Negotiate', [{ scheme: 'negotiate', parameters: {} }]],
  [
    'the usual form',
    'Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull"',
    [bearer({ realm: 'https://auth.example/token', service: 'r.example', scope: 'repository:a/b:pull' })],
  ],
  [
    'commas inside quotes',
    'Bearer scope="repository:a:pull,push",x="1"',
    [bearer({ scope: 'repository:a:pull,push', x: '1' })],
  ],
  [
    'escapes inside quotes',
    String.raw`Basic realm="a \"b\", \\ c"`,
    [{ scheme: 'basic', parameters: { realm: String.raw`a "b", \ c` } }],
  ],
  ['names in any case', 'BEARER ReAlM="X"', [bearer({ realm: 'X' })]],
  [
    'values without quotes',
    'Bearer realm=https://a/token, service=x',
    [bearer({ realm: 'https://a/token', service: 'x' })],
  ],
  ['blanks around everything', 'Bearer  realm = "a" ,  service = "b"', [bearer({ realm: 'a', service: 'b' })]],
  ['an empty value', 'Bearer realm=""', [bearer({ realm: '' })]],
  [
    'several challenges in one header',
    'Basic realm="one", Bearer realm="two",service="s", Negotiate',
    [
      { scheme: 'basic', parameters: { realm: 'one' } },
      bearer({ realm: 'two', service: 's' }),
      { scheme: 'negotiate', parameters: {} },
    ],
  ],
  [
    // As the http client joins repeated headers.
    'several headers joined',
    ['Negotiate', 'Basic realm="a, b"', 'Bearer realm="c"'].join(', '),
    [
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: { realm: 'a, b' } },
      bearer({ realm: 'c' }),
    ],
  ],
  ['parameters before any scheme', 'realm="x", Basic realm="y"', [{ scheme: 'basic', parameters: { realm: 'y' } }]],
  [
    'a quote that is never closed',
    'Basic realm="a", Bearer realm="b',
    [{ scheme: 'basic', parameters: { realm: 'a' } }, bearer({})],
  ],
])('reads %s', (_, header, challenges) => {
  expect(parseChallenges(header)).toEqual(challenges);
});

it('lets no parameter reach a prototype', () => {
  const [challenge] = parseChallenges('Bearer __proto__="x", constructor="y", realm="z"');

  expect(challenge?.parameters['realm']).toBe('z');
  expect(Object.getPrototypeOf(challenge?.parameters)).toBe(Object.prototype);
});
