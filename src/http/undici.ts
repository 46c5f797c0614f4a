// Loaded when the first request is sent. Only the parts in use: the whole of undici, with its fetch, caches and mocks,
// takes longer to start than all else that a command does before its first request.
import type * as undici from 'undici';
// @ts-expect-error parts of the package have no types of their own
import agentPart from 'undici/lib/dispatcher/agent.js';
// @ts-expect-error
import apiPart from 'undici/lib/api/index.js';
// @ts-expect-error
import connectPart from 'undici/lib/core/connect.js';
// @ts-expect-error
import dispatcherPart from 'undici/lib/dispatcher/dispatcher.js';

// As the package's own index does: it gives a dispatcher its `request`.
Object.assign((dispatcherPart as typeof undici.Dispatcher).prototype, apiPart);

export const Agent = agentPart as typeof undici.Agent;
export type Agent = undici.Agent;
export const buildConnector = connectPart as typeof undici.buildConnector;
export type { buildConnector as BuildConnector } from 'undici';
export type { Dispatcher } from 'undici';
