import { defineConfig } from 'vitest/config';

const project = (name: string, timeout: number) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: timeout, hookTimeout: timeout },
});

export default defineConfig({
  test: {
    // The AWS SDK warns of Node 20 on standard error; the program itself sets this too.
    env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    // Most tests wait for a server or a timer, so there may be more of them than processors.
    maxWorkers: 4,
    // A server of a test that hangs up on an upload can break a connection which nobody waits for any more.
    onUnhandledError: (error): boolean | void => {
      const { syscall, code } = error as NodeJS.ErrnoException;
      if (syscall === 'write' && code === 'EPIPE') return false;
    },
    projects: [
      project('unit', 20_000),
      { extends: true, test: { name: 'support', include: ['test/support/**/*.test.ts'], testTimeout: 20_000 } },
      project('contract', 30_000),
      project('integration', 60_000),
      project('e2e', 120_000),
      {
        extends: true,
        test: {
          name: 'real',
          include: ['test/real/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
