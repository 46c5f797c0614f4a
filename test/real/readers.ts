import { runCommand } from './command.ts';
import type { VersionedTool } from './tools.ts';

/** Reads a model offline with huggingface_hub, by name and by commit, and returns what it found. */
const hubReader = `
import json, os, sys, warnings
warnings.simplefilter('error')
from huggingface_hub import hf_hub_download, snapshot_download, scan_cache_dir
repo, commit = sys.argv[1:3]
def listing(root):
    found = {}
    for base, _, names in os.walk(root):
        for name in names:
            path = os.path.join(base, name)
            found[os.path.relpath(path, root)] = os.path.getsize(path)
    return found
by_name = snapshot_download(repo)
by_commit = snapshot_download(repo, revision=commit)
one = open(hf_hub_download(repo, '1_Pooling/config.json'), 'rb').read().decode()
scan = scan_cache_dir()
print(json.dumps({
  'same': os.path.realpath(by_name) == os.path.realpath(by_commit),
  'files': listing(by_name),
  'pooling': one,
  'warnings': [str(w) for w in scan.warnings],
  'repos': [r.repo_id for r in scan.repos],
  'refs': sorted(ref for r in scan.repos for ref in r.refs),
}))
`;

export interface HubReading {
  same: boolean;
  files: Record<string, number>;
  pooling: string;
  warnings: string[];
  repos: string[];
  refs: string[];
}

/** @param hub a directory in the cache layout */
export async function readWithHub(
  python: VersionedTool,
  hub: string,
  repo: string,
  commit: string,
): Promise<HubReading> {
  // A dead endpoint: what asks it anything fails.
  const env = {
    HF_HUB_CACHE: hub,
    HF_HUB_OFFLINE: '1',
    HF_ENDPOINT: 'http://127.0.0.1:9',
    HF_HUB_DISABLE_TELEMETRY: '1',
    HF_HUB_DISABLE_XET: '1',
  };
  return JSON.parse(await runCommand(python.path, ['-c', hubReader, repo, commit], { env })) as HubReading;
}

/** Downloads with the real client from the stand-in of the hub: that is the stand-in's test. */
const hubDownload = `
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1]))
`;

export async function downloadWithHub(
  python: VersionedTool,
  endpoint: string,
  home: string,
  repo: string,
  more: Record<string, string> = { HF_HUB_DISABLE_XET: '1' },
): Promise<string> {
  const env = {
    HF_HOME: home,
    HF_ENDPOINT: endpoint,
    ...more,
    HF_HUB_DISABLE_TELEMETRY: '1',
    HF_HUB_DISABLE_PROGRESS_BARS: '1',
    HF_HUB_OFFLINE: '0',
  };
  return (await runCommand(python.path, ['-c', hubDownload, repo], { env })).trim();
}

/** Lets huggingface_hub compare a cache with the hub by itself, file by file. */
const hubVerifier = `
import json, sys
from huggingface_hub import HfApi
found = HfApi().verify_repo_checksums(sys.argv[1])
print(json.dumps([found.checked_count, len(found.mismatches), len(found.missing_paths), len(found.extra_paths)]))
`;

/** @returns how many files were looked at, had other bytes, were missing, and too many */
export async function verifyWithHub(
  python: VersionedTool,
  endpoint: string,
  hub: string,
  repo: string,
): Promise<number[]> {
  const env = { HF_HUB_CACHE: hub, HF_ENDPOINT: endpoint, HF_HUB_OFFLINE: '0', HF_HUB_DISABLE_TELEMETRY: '1' };
  return JSON.parse(await runCommand(python.path, ['-c', hubVerifier, repo], { env })) as number[];
}

/** Loads a model offline as programs do, by name and by commit: settings, tokenizer, and the rows of its table for a text. */
const modelLoader = `
import json, sys
from huggingface_hub import hf_hub_download
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoTokenizer
repo, commit, text = sys.argv[1:4]
found = []
for revision in (None, commit):
    config = AutoConfig.from_pretrained(repo, revision=revision)
    tokenizer = AutoTokenizer.from_pretrained(repo, revision=revision)
    ids = tokenizer(text, add_special_tokens=False)['input_ids']
    weights = load_file(hf_hub_download(repo, 'model.safetensors', revision=revision))
    table = weights['embeddings.word_embeddings.weight']
    found.append({'type': config.model_type, 'size': config.hidden_size, 'ids': ids, 'rows': table[ids].tolist()})
print(json.dumps(found))
`;

export interface LoadedModel {
  type: string;
  size: number;
  ids: number[];
  rows: number[][];
}

/** @param hub a directory in the cache layout */
export async function loadWithTransformers(
  python: VersionedTool,
  hub: string,
  [repo, commit, text]: [repo: string, commit: string, text: string],
): Promise<LoadedModel[]> {
  const env = {
    HF_HUB_CACHE: hub,
    HF_HUB_OFFLINE: '1',
    HF_ENDPOINT: 'http://127.0.0.1:9',
    HF_HUB_DISABLE_TELEMETRY: '1',
  };
  return JSON.parse(await runCommand(python.path, ['-c', modelLoader, repo, commit, text], { env })) as LoadedModel[];
}

/** Hydrates a model with SIE's own reader, as a worker does, and loads its file list with huggingface_hub. */
const sieReader = `
import json, os, sys
from pathlib import Path
from sie_sdk.cache import CacheConfig, ensure_model_cached
cluster, local, repo = sys.argv[1:4]
config = CacheConfig(local_cache=Path(local), cluster_cache=cluster, hf_fallback=False)
ensure_model_cached(repo, config)
from huggingface_hub import snapshot_download
root = snapshot_download(repo, cache_dir=local, local_files_only=True)
total = sum(os.path.getsize(os.path.join(b, n)) for b, _, names in os.walk(local) for n in names if not n.endswith('.lock'))
found = {os.path.relpath(os.path.join(b, n), root): os.path.getsize(os.path.join(b, n)) for b, _, names in os.walk(root) for n in names}
print(json.dumps({'files': found, 'total': total}))
`;

export async function hydrateWithSie(
  python: VersionedTool,
  url: string,
  local: string,
  repo: string,
  env: Record<string, string>,
): Promise<{ files: Record<string, number>; total: number }> {
  const output = await runCommand(python.path, ['-c', sieReader, url, local, repo], {
    env: { ...env, HF_HUB_OFFLINE: '1' },
  });
  return JSON.parse(output.trim().split('\n').at(-1) ?? '') as { files: Record<string, number>; total: number };
}

/** Lists the files of a dataset offline. */
const datasetReader = `
import json, os, sys
from huggingface_hub import snapshot_download
root = snapshot_download(sys.argv[1], repo_type='dataset')
print(json.dumps(sorted(os.path.relpath(os.path.join(b, n), root) for b, _, names in os.walk(root) for n in names)))
`;

export async function readDatasetWithHub(python: VersionedTool, hub: string, repo: string): Promise<string[]> {
  const env = { HF_HUB_CACHE: hub, HF_HUB_OFFLINE: '1', HF_ENDPOINT: 'http://127.0.0.1:9', HF_HUB_DISABLE_XET: '1' };
  return JSON.parse(await runCommand(python.path, ['-c', datasetReader, repo], { env })) as string[];
}
