import { inBackticks } from '../core/text.ts';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import { validate } from '../core/validate.ts';
import * as z from '../core/zod.ts';
import { type PemFile, readPem, type TlsParts, type TlsSettings, tlsSettings } from '../http/tls.ts';

/** Where and how an API server is asked. */
export interface KubeAccess {
  server: URL;
  namespace: string;
  tls: TlsSettings | undefined;
  /** Value of the Authorization header; undefined for a client certificate, or nobody. */
  authorization(): Promise<string | undefined>;
}

const optional = z.string().optional();
const clusterSchema = z.looseObject({
  server: z.string(),
  'certificate-authority': optional,
  'certificate-authority-data': optional,
  'insecure-skip-tls-verify': z.boolean().optional(),
});
const execSchema = z.looseObject({
  command: z.string(),
  args: z.array(z.string()).nullish(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string() })).nullish(),
  apiVersion: z.string().default('client.authentication.k8s.io/v1'),
});
const userSchema = z.looseObject({
  token: optional,
  tokenFile: optional,
  'client-certificate': optional,
  'client-certificate-data': optional,
  'client-key': optional,
  'client-key-data': optional,
  username: optional,
  password: optional,
  exec: execSchema.optional(),
});
const configSchema = z.looseObject({
  'current-context': z.string().default(''),
  contexts: z
    .array(
      z.looseObject({
        name: z.string(),
        context: z.looseObject({ cluster: z.string(), user: z.string(), namespace: optional }),
      }),
    )
    .default([]),
  clusters: z.array(z.looseObject({ name: z.string(), cluster: clusterSchema })).default([]),
  users: z.array(z.looseObject({ name: z.string(), user: userSchema })).default([]),
});

type User = z.infer<typeof userSchema>;

/**
 * A kubeconfig: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
 * @param document its YAML, as read
 * @param path of the file: relative names in it count from there
 * @param name of the context, if not the current one
 * @throws E_USAGE, naming what is missing
 */
export async function kubeconfigAccess(
  document: unknown,
  path: string,
  name: string | undefined,
  env: Record<string, string | undefined>,
): Promise<KubeAccess> {
  const config = validate(configSchema, document, path, 'E_USAGE');
  const wanted = name ?? config['current-context'];
  const context = config.contexts.find((each) => each.name === wanted)?.context;
  const cluster = config.clusters.find((each) => each.name === context?.cluster)?.cluster;
  const user = config.users.find((each) => each.name === context?.user)?.user;
  if (!context || !cluster || !user)
    throw new MirrorError('E_USAGE', `\`${path}\` has no whole context \`${wanted}\``, {
      hint: `name one with \`--context\`: there are ${inBackticks(config.contexts.map((each) => each.name))}`,
    });
  const directory = dirname(path);
  return {
    server: readServer(cluster.server, path),
    namespace: context.namespace ?? 'default',
    tls: await tlsOf(cluster, user, directory),
    authorization: authorizationOf(user, directory, env),
  };
}

/** What the account of a pod is told: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/ */
const accountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';

/** @throws E_USAGE outside of a pod */
export async function inClusterAccess(
  env: Record<string, string | undefined>,
  directory = accountDirectory,
): Promise<KubeAccess> {
  const host = env['KUBERNETES_SERVICE_HOST'];
  if (host === undefined)
    throw new MirrorError('E_USAGE', '`--in-cluster`: this is no pod, KUBERNETES_SERVICE_HOST is not set', {
      hint: 'give `--kubeconfig FILE` instead',
    });
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  const authority = await readPem(resolve(directory, 'ca.crt'));
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    namespace: (await readPem(resolve(directory, 'namespace'))).text.trim(),
    tls: await tlsSettings({ authorities: [authority] }),
    // The kubelet renews it.
    authorization: async () => `Bearer ${(await readPem(resolve(directory, 'token'))).text.trim()}`,
  };
}

function readServer(text: string, path: string): URL {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text))
    throw new MirrorError('E_USAGE', `\`${path}\`: its server is no address`);
  return new URL(text);
}

async function tlsOf(
  cluster: z.infer<typeof clusterSchema>,
  user: User,
  directory: string,
): Promise<TlsSettings | undefined> {
  if (!cluster.server.startsWith('https:')) return undefined;
  const authority = await pemOf(cluster['certificate-authority-data'], cluster['certificate-authority'], directory);
  const certificate = await pemOf(user['client-certificate-data'], user['client-certificate'], directory);
  const key = await pemOf(user['client-key-data'], user['client-key'], directory);
  const parts: TlsParts = {
    ...(authority ? { authorities: [authority] } : {}),
    ...(certificate && key ? { client: { certificate, key } } : {}),
    verify: cluster['insecure-skip-tls-verify'] !== true,
  };
  return tlsSettings(parts);
}

async function pemOf(
  data: string | undefined,
  file: string | undefined,
  directory: string,
): Promise<PemFile | undefined> {
  if (data !== undefined) return { path: 'kubeconfig', text: Buffer.from(data, 'base64').toString('utf8') };
  return file === undefined ? undefined : readPem(resolve(directory, file));
}

function authorizationOf(
  user: User,
  directory: string,
  env: Record<string, string | undefined>,
): KubeAccess['authorization'] {
  const { token, tokenFile, username, password, exec } = user;
  if (token !== undefined) return async () => Promise.resolve(`Bearer ${token}`);
  if (tokenFile !== undefined) return async () => `Bearer ${(await readText(resolve(directory, tokenFile))).trim()}`;
  if (username !== undefined && password !== undefined)
    return async () => Promise.resolve(`Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`);
  if (exec === undefined) return async () => Promise.resolve(undefined);
  let running: Promise<string> | undefined;
  return async () => `Bearer ${await (running ??= tokenFromCommand(exec, directory, env))}`;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new MirrorError('E_USAGE', `\`${path}\`, which the kubeconfig names, cannot be read`, { cause: error });
  }
}

const credentialSchema = z.looseObject({ status: z.looseObject({ token: z.string() }) });

/** https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins */
async function tokenFromCommand(
  { command, args, env: more, apiVersion }: z.infer<typeof execSchema>,
  directory: string,
  env: Record<string, string | undefined>,
): Promise<string> {
  const info = { apiVersion, kind: 'ExecCredential', spec: { interactive: false } };
  const extra = Object.fromEntries((more ?? []).map(({ name, value }) => [name, value]));
  // Neither its arguments nor what it printed: both may hold a secret.
  const failed = (): MirrorError =>
    new MirrorError('E_AUTH', `the command \`${command}\` of the kubeconfig gave no token`, {
      hint: 'run it by hand, as the kubeconfig has it, to see why; or run `kubectl get pods`',
    });
  // A relative path counts from the file; a plain name is looked for in PATH.
  const program = command.includes('/') ? resolve(directory, command) : command;
  const output = await new Promise<string>((done, reject) => {
    const options = { env: { ...env, ...extra, KUBERNETES_EXEC_INFO: JSON.stringify(info) }, timeout: 30_000 };
    execFile(program, args ?? [], options, (error, stdout) => (error ? reject(failed()) : done(stdout)));
  });
  try {
    return credentialSchema.parse(JSON.parse(output)).status.token;
  } catch {
    throw failed();
  }
}
