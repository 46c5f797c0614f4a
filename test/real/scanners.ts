import { runCommand } from './command.ts';
import type { VersionedTool } from './tools.ts';

/** Scans files with picklescan and prints what each of them imports. */
const pickleScanner = `
import json, logging, sys, warnings
logging.disable(logging.CRITICAL)
warnings.simplefilter('ignore')
from picklescan.scanner import scan_file_path
found = {}
for path in json.load(open(sys.argv[1])):
    try:
        result = scan_file_path(path)
        found[path] = {'failed': result.scan_err, 'imports': [[g.module, g.name, g.safety.value] for g in result.globals]}
    except Exception as error:
        found[path] = {'failed': True, 'imports': []}
print(json.dumps(found))
`;

export interface PickleScan {
  /** It says itself that it could not read the file to its end. */
  failed: boolean;
  imports: [module: string, name: string, safety: 'innocuous' | 'suspicious' | 'dangerous'][];
}

/** @param list a file that holds a JSON list of paths */
export async function scanPickles(python: VersionedTool, list: string): Promise<Record<string, PickleScan>> {
  return JSON.parse(await runCommand(python.path, ['-c', pickleScanner, list])) as Record<string, PickleScan>;
}

/** Opens files with the safetensors library; null for what it takes, else what it says. */
const safetensorsReader = `
import json, sys
from safetensors import deserialize
found = {}
for path in json.load(open(sys.argv[1])):
    try:
        deserialize(open(path, 'rb').read())
        found[path] = None
    except Exception as error:
        found[path] = str(error)
print(json.dumps(found))
`;

/** @param list a file that holds a JSON list of paths */
export async function readSafetensors(python: VersionedTool, list: string): Promise<Record<string, string | null>> {
  return JSON.parse(await runCommand(python.path, ['-c', safetensorsReader, list])) as Record<string, string | null>;
}

/** Writes files as Python's own libraries write them: pickles of every protocol, arrays of numpy, safetensors. */
const sampleWriter = `
import collections, datetime, decimal, fractions, functools, json, operator, os, pathlib, pickle, random, shutil, subprocess, sys, uuid
import numpy
from safetensors.numpy import save_file
root, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
functions = [eval, exec, getattr, os.system, os.path.join, subprocess.run, shutil.rmtree, json.loads, operator.attrgetter, functools.partial, collections.OrderedDict, collections.Counter, decimal.Decimal, fractions.Fraction, datetime.date, pathlib.Path, uuid.uuid4, numpy.dtype, numpy.ndarray, numpy.load, print, set, len]
class Call:
    def __init__(self, function, *args): self.call = function, args
    def __reduce__(self): return self.call
def value(depth):
    kind = rng.randrange(12 if depth < 4 else 7)
    if kind == 0: return rng.randrange(-2**70, 2**70)
    if kind == 1: return rng.choice(['os', 'system', 'x' * rng.randrange(400), 'größe', ''])
    if kind == 2: return rng.choice([None, True, 1.5, b'bytes', bytearray(b'x' * 9)])
    if kind == 3: return rng.choice(functions)
    if kind == 4: return numpy.zeros(rng.randrange(5), dtype=rng.choice(['f4', 'i8', 'U3']))
    if kind == 5: return rng.choice([decimal.Decimal('1.5'), datetime.date(2020, 1, 1), pathlib.PurePosixPath('a'), collections.Counter('aab')])
    if kind == 6: return Call(rng.choice(functions), 'never called', rng.randrange(9))
    if kind == 7: return [value(depth + 1) for _ in range(rng.randrange(6))]
    if kind == 8: return tuple(value(depth + 1) for _ in range(rng.randrange(6)))
    if kind == 9: return {str(rng.random()): value(depth + 1) for _ in range(rng.randrange(6))}
    if kind == 10: return collections.OrderedDict((i, value(depth + 1)) for i in range(rng.randrange(4)))
    shared = value(depth + 1)
    return [shared, shared]
for index in range(count):
    with open(f'{root}/random-{index}.pkl', 'wb') as file: pickle.dump(value(0), file, rng.randrange(6))
numpy.save(f'{root}/objects.npy', numpy.array([os.system, {}], dtype=object))
numpy.save(f'{root}/numbers.npy', numpy.arange(9))
numpy.save(f'{root}/fields.npy', numpy.array([(1, os.system)], dtype=[('a', 'i4'), ('b', 'O')]))
numpy.savez_compressed(f'{root}/arrays.npz', a=numpy.arange(3), b=numpy.array([eval], dtype=object))
save_file({'a': numpy.zeros((3, 4), 'f4'), 'b': numpy.zeros((0, 2), 'i8'), 'c': numpy.array(1.5)}, f'{root}/library.safetensors', {'format': 'pt'})
`;

export async function writeSamples(python: VersionedTool, root: string, seed: number, count: number): Promise<void> {
  await runCommand(python.path, ['-c', sampleWriter, root, String(seed), String(count)]);
}
