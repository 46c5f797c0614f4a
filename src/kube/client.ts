import { MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';
import { parseJson, validate } from '../core/validate.ts';
import * as z from '../core/zod.ts';
import { type HttpClient, type HttpResponse, redactUrl } from '../http/client.ts';
import { errorText, statusError } from '../http/failure.ts';
import type { KubeAccess } from './config.ts';

const answerLimit = 64 * 1024 * 1024;
const pageSize = 500;
const statusSchema = z.looseObject({ message: z.string().default('') });
const listSchema = z.looseObject({
  metadata: z.looseObject({ continue: z.string().nullish() }).optional(),
  items: z.array(z.unknown()).nullish(),
});

/** A page that a pod has on a port. */
export interface PodPage {
  namespace: string;
  pod: string;
  port: number;
  path: string;
}

/** The Kubernetes API, read-only: https://kubernetes.io/docs/reference/using-api/api-concepts/ */
export class KubeClient {
  readonly #http: HttpClient;
  readonly #access: KubeAccess;

  constructor(http: HttpClient, access: KubeAccess) {
    this.#http = http;
    this.#access = access;
  }

  /** For people. */
  get server(): string {
    return redactUrl(this.#access.server);
  }

  /**
   * Every item of a list, page by page, checked against a schema of the whole list.
   * @param path as `/api/v1/namespaces/NAME/pods`
   * @throws E_AUTH naming what is not allowed, E_NETWORK, E_TLS, E_PROTOCOL
   */
  async list<T>(path: string, schema: z.ZodType<T>, accept = 'application/json'): Promise<T> {
    const items: unknown[] = [];
    let next: string | undefined;
    do {
      const query = new URLSearchParams({ limit: String(pageSize), ...(next === undefined ? {} : { continue: next }) });
      const page = validate(
        listSchema,
        await this.#json(`${path}${path.includes('?') ? '&' : '?'}${query.toString()}`, accept),
        path,
        'E_PROTOCOL',
      );
      items.push(...(page.items ?? []));
      next = page.metadata?.continue || undefined;
    } while (next !== undefined);
    return validate(schema, { items }, path, 'E_PROTOCOL');
  }

  /** The same with nothing but the metadata of each item: of secrets nobody needs more. @throws as `list` */
  async listMetadata<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.list(path, schema, 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1');
  }

  /** One object; undefined when there is none. @throws E_AUTH, E_NETWORK, E_TLS, E_PROTOCOL */
  async get<T>(path: string, schema: z.ZodType<T>, answerMs?: number): Promise<T | undefined> {
    const response = await this.#send(path, 'application/json', answerMs);
    if (response.status === 404) {
      await response.discard();
      return undefined;
    }
    return validate(schema, await this.#read(response, path), path, 'E_PROTOCOL');
  }

  /** The end of a container's log. @param previous of the run before this one @throws as `list` */
  async log(namespace: string, pod: string, container: string, previous: boolean): Promise<string> {
    const query = new URLSearchParams({
      container,
      tailLines: '200',
      limitBytes: '200000',
      previous: String(previous),
    });
    const response = await this.#send(`${podPath(namespace, pod)}/log?${query.toString()}`, '*/*');
    if (response.status === 200) return (await response.bytes()).toString('utf8');
    await this.#refuse(response, `log of ${pod}`);
    return '';
  }

  /**
   * What a pod answers on a port, by way of the API server; undefined for a page that is not there.
   * @param answerMs how long it may take to begin
   * @throws as `list`
   */
  async throughPod<T>(
    { namespace, pod, port, path }: PodPage,
    schema: z.ZodType<T>,
    answerMs: number,
  ): Promise<T | undefined> {
    return this.get(`${podPath(namespace, `${pod}:${port}`)}/proxy${path}`, schema, answerMs);
  }

  async #json(path: string, accept: string): Promise<unknown> {
    return this.#read(await this.#send(path, accept), path);
  }

  async #read(response: HttpResponse, path: string): Promise<unknown> {
    await this.#refuse(response, path);
    return parseJson(await response.bytes(answerLimit), path, 'E_PROTOCOL');
  }

  async #refuse(response: HttpResponse, path: string): Promise<void> {
    if (response.status === 200) return;
    const said = printable(statusMessage(await errorText(response))).slice(0, 300);
    throw statusError(response, { item: path.split('?')[0] ?? path }, said);
  }

  async #send(path: string, accept: string, answerMs?: number): Promise<HttpResponse> {
    const { server, tls } = this.#access;
    // The path of the server comes first: gateways such as Rancher's have one.
    const url = new URL(`${server.href.replace(/\/+$/, '')}${path}`);
    const token = await this.#access.authorization();
    const headers = { accept, ...(token === undefined ? {} : { authorization: token }) };
    return this.#http.send({
      method: 'GET',
      url,
      at: { item: path.split('?')[0] ?? path },
      own: { tls, headers },
      follow: false,
      ...(answerMs === undefined ? {} : { answerMs }),
    });
  }
}

function podPath(namespace: string, pod: string): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod).replaceAll('%3A', ':')}`;
}

function statusMessage(text: string): string {
  try {
    return statusSchema.parse(JSON.parse(text)).message;
  } catch {
    return text.startsWith('<') ? '' : text;
  }
}

/** Whether the server knows us and does not let us see this: other things may be allowed. */
export function isForbidden(error: MirrorError): boolean {
  return error.at.status === 403;
}
