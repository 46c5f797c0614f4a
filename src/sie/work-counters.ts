/** What workers of 0.3 count of a model: items taken from the queue, and requests that they answered themselves. */
const queueItems = 'sie_pull_loop_items_fetched';
const requests = 'sie_requests_total';

/**
 * How much work for a model the `/metrics` of a worker show; undefined where they show none of its counters. Workers of
 * newer releases have no such page: they send their counters to a collector.
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */
export function workOf(model: string, metrics: string): number | undefined {
  let work: number | undefined;
  for (const line of metrics.split('\n')) {
    const [, declared] = /^# TYPE (\S+) /.exec(line) ?? [];
    if (declared === queueItems || declared === requests) work ??= 0;
    const [, name, labels = '', value] = /^(\w+)\{(.*)\} (\S+)/.exec(line) ?? [];
    if (name !== `${queueItems}_sum` && name !== requests) continue;
    const { model: counted, status = 'success' } = labelsOf(labels);
    if (counted === model && status === 'success') work = (work ?? 0) + Number(value);
  }
  return work;
}

function labelsOf(text: string): Record<string, string> {
  const found = [...text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  return Object.fromEntries(found.map(([, name = '', value = '']) => [name, unescape(value)]));
}

function unescape(value: string): string {
  return value.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
}
