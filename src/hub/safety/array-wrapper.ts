/**
 * joblib writes the numbers of an array into the pickle itself, behind the BUILD of a wrapper that tells how many there
 * are. Here is as much of the values of a pickle as that takes.
 * https://github.com/joblib/joblib/blob/main/joblib/numpy_pickle.py
 */

/** A value of a pickle; null when nothing is known of it. */
export type PickleValue = string | number | boolean | null | ArrayPart;

/** What wrappers of arrays are made of. */
export type ArrayPart =
  | { kind: 'none' | 'type-class' | 'wrapper-class' | 'wrapper' }
  | { kind: 'tuple'; items: readonly PickleValue[] }
  | { kind: 'type'; code: string; bytes: number | undefined }
  | { kind: 'settings'; entries: Map<string, PickleValue>; isKnown: boolean };

export type Settings = Extract<ArrayPart, { kind: 'settings' }>;
type ElementType = Extract<ArrayPart, { kind: 'type' }>;

/** Python's None. */
export const none: ArrayPart = { kind: 'none' };
const wrapperClass: ArrayPart = { kind: 'wrapper-class' };
const typeClass: ArrayPart = { kind: 'type-class' };

export function isPart<K extends ArrayPart['kind']>(
  value: PickleValue | undefined,
  kind: K,
): value is Extract<ArrayPart, { kind: K }> {
  return typeof value === 'object' && value !== null && value.kind === kind;
}

/** Whether it becomes an array when it is built, or makes what does. */
export function isWrapping(value: PickleValue | undefined): boolean {
  return isPart(value, 'wrapper') || isPart(value, 'wrapper-class');
}

/** What an import of the wrapper, of NumPy's type of elements, or of anything else is worth here. */
export function importedPart(module: PickleValue, name: PickleValue): PickleValue {
  if (isArrayWrapper(module, name)) return wrapperClass;
  return module === 'numpy' && name === 'dtype' ? typeClass : null;
}

function isArrayWrapper(module: PickleValue, name: PickleValue): boolean {
  return typeof module === 'string' && wrapperModules.has(module) && name === 'NumpyArrayWrapper';
}

/** scikit-learn had a joblib of its own once. */
export const wrapperModules: ReadonlySet<string> = new Set([
  'joblib.numpy_pickle',
  'sklearn.externals.joblib.numpy_pickle',
]);

/** Whether a name leads to a wrapper in a way that joblib does not write. */
export function isOddWrapper(module: PickleValue, name: PickleValue): boolean {
  const isOne = typeof name === 'string' && /(?:Numpy|ND)ArrayWrapper/.test(name);
  return isOne && !isArrayWrapper(module, name);
}

/** Larger ones tell nothing that is asked for here. */
const longestTuple = 9;
const longestText = 16;

export function tupleOf(items: readonly PickleValue[]): PickleValue {
  if (items.length > longestTuple) return null;
  return { kind: 'tuple', items: items.map((item) => (isSmall(item) ? item : null)) };
}

function isSmall(value: PickleValue): boolean {
  return typeof value === 'string' ? value.length <= longestText : typeof value !== 'object' || isPart(value, 'none');
}

/** `numpy.dtype(code, False, True)`, as NumPy has it pickled; how many bytes it takes is only known with its state. */
export function elementType(args: PickleValue): PickleValue {
  if (!isPart(args, 'tuple') || args.items.length !== 3) return null;
  const [code, isAligned, isCopied] = args.items;
  const isPlain = typeof code === 'string' && (isAligned === false || isAligned === 0) && Boolean(isCopied);
  return isPlain ? { kind: 'type', code, bytes: undefined } : null;
}

/**
 * The state that NumPy gives to a type. Only one of which every part that counts is known is believed: a state may make
 * objects of numbers.
 * https://github.com/numpy/numpy/blob/main/numpy/_core/src/multiarray/descriptor.c
 */
export function setState(type: ElementType, state: PickleValue): void {
  const bytes = type.bytes === undefined && isPart(state, 'tuple') ? bytesOf(type.code, state.items) : undefined;
  type.bytes = bytes;
  // Nothing is known any more of what is told twice.
  type.code = '';
}

function bytesOf(code: string, state: readonly PickleValue[]): number | undefined {
  const [version, order, parent, names, fields, size, alignment, flags] = state;
  const [, kind = '', digits = ''] = /^([?biufcmMSUV])(\d{0,9})$/.exec(code) ?? [];
  if (typeof order !== 'string' || !isPart(parent, 'none')) return undefined;
  if ('SUV'.includes(kind) && kind !== '') {
    const isData = version === 3 && state.length === 8 && typeof flags === 'number' && (flags & 1) === 0;
    const isSimple = kind === 'V' || (isPart(names, 'none') && isPart(fields, 'none'));
    return isData && isSimple && typeof size === 'number' && size >= 0 ? size : undefined;
  }
  const isDate = kind === 'm' || kind === 'M';
  const isNumber = isPart(names, 'none') && isPart(fields, 'none') && size === -1 && alignment === -1 && flags === 0;
  if (!isNumber || version !== (isDate ? 4 : 3) || state.length !== (isDate ? 9 : 8)) return undefined;
  return kind === '?' ? 1 : sizesOfNumbers.get(kind)?.find((each) => each === Number(digits));
}

const sizesOfNumbers = new Map([
  ['b', [1]],
  ['i', [1, 2, 4, 8]],
  ['u', [1, 2, 4, 8]],
  ['f', [2, 4, 8, 12, 16]],
  ['c', [8, 16, 24, 32]],
  ['m', [8]],
  ['M', [8]],
]);

const settingNames = new Set(['subclass', 'shape', 'order', 'dtype', 'allow_mmap', 'numpy_array_alignment_bytes']);

/** Takes keys and values in turn. */
export function addSettings(settings: Settings, items: readonly PickleValue[]): void {
  for (let index = 0; index < items.length; index += 2) {
    const [key = null, value = null] = items.slice(index, index + 2);
    if (typeof key === 'string' && settingNames.has(key)) settings.entries.set(key, value);
    else settings.isKnown = false;
  }
}

/** How an array stands in the file: behind a byte that tells how many more come before it, or at once. */
export interface ArrayPlace {
  bytes: number;
  isPadded: boolean;
}

/** Undefined when that cannot be told, or when there is a pickle in its place. */
export function placeOf(state: PickleValue): ArrayPlace | undefined {
  if (!isPart(state, 'settings') || !state.isKnown) return undefined;
  const { entries } = state;
  const shape = entries.get('shape');
  const type = entries.get('dtype');
  const padding =
    entries.get('numpy_array_alignment_bytes') ?? (entries.has('numpy_array_alignment_bytes') ? null : none);
  if (!isPart(shape, 'tuple') || !isPart(type, 'type') || type.bytes === undefined) return undefined;
  if (typeof padding !== 'number' && !isPart(padding, 'none')) return undefined;
  let bytes = type.bytes;
  for (const length of shape.items) {
    if (typeof length !== 'number' || length < 0) return undefined;
    bytes *= length;
  }
  return Number.isSafeInteger(bytes) ? { bytes, isPadded: typeof padding === 'number' } : undefined;
}
