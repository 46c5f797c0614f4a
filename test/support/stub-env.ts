import { vi } from 'vitest';

/** Puts variables into the environment of this process, until `vi.unstubAllEnvs()`. */
export function stubEnv(env: Record<string, string>): void {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
}
