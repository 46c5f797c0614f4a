import { wrapperModules } from './array-wrapper.ts';
import type { PickleImport } from './pickle.ts';

/**
 * `allowed`: rebuilds tensors, arrays and plain containers, and cannot do more. `dangerous`: runs, loads or reaches
 * what it is told to, or cannot be told without executing it. `suspicious`: everything else.
 */
export type ImportVerdict = 'allowed' | 'suspicious' | 'dangerous';

/** A name with a dot is a way through attributes, which may lead anywhere: it is never allowed. */
export function judgeImport({ module, name }: PickleImport): ImportVerdict {
  if (module === null || name === null || module === '' || name === '') return 'dangerous';
  if (allowed.get(module)?.has(name) === true) return 'allowed';
  if (module === 'torch' && /^[A-Za-z0-9]{1,30}Storage$/.test(name)) return 'allowed';
  if (pythonBuiltins.has(module)) return harmlessTypes.has(name) ? 'suspicious' : 'dangerous';
  const parents = module.split('.').map((_, index, parts) => parts.slice(0, index + 1).join('.'));
  if (parents.some((parent) => dangerousModules.has(parent))) return 'dangerous';
  if (dangerousNames.get(module)?.has(name) === true) return 'dangerous';
  const last = name.split('.');
  return last.some((part) => dangerousAttributes.has(part) || (last.length > 1 && dangerousModules.has(part)))
    ? 'dangerous'
    : 'suspicious';
}

const words = (text: string): Set<string> => new Set(text.trim().split(/\s+/));

/** Python 2 wrote another name for them. */
const pythonBuiltins = words('builtins __builtin__ __builtins__');

/** Containers that torch itself lets through when it loads nothing but weights. */
const plainTypes = words('set frozenset bytearray complex');

/** What of Python's own names makes plain values, and is unusual all the same. */
const harmlessTypes = words('list dict tuple int long float bool str unicode bytes slice range xrange object');

const arrayParts = words('_reconstruct scalar');

const allowed = new Map<string, Set<string>>(
  Object.entries({
    builtins: plainTypes,
    __builtin__: plainTypes,
    collections: words('OrderedDict Counter'),
    _codecs: words('encode'),
    numpy: words('dtype ndarray'),
    'numpy.core.multiarray': arrayParts,
    'numpy._core.multiarray': arrayParts,
    // Of protocol 5.
    'numpy.core.numeric': words('_frombuffer'),
    'numpy._core.numeric': words('_frombuffer'),
    torch: words(`Size Tensor device dtype
    float16 half float32 float float64 double bfloat16 complex32 complex64 cfloat complex128 cdouble
    uint8 uint16 uint32 uint64 int8 int16 short int32 int int64 long bool quint8 qint8 qint32 quint4x2
    float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz per_tensor_affine per_channel_affine`),
    'torch._utils': words(`_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter
    _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_meta_tensor_no_storage
    _rebuild_nested_tensor`),
    // What stands behind one is passed over, or called hidden.
    ...Object.fromEntries([...wrapperModules].map((module) => [module, words('NumpyArrayWrapper')])),
    'torch.nn.parameter': words('Parameter Buffer'),
    'torch.serialization': words('_get_layout'),
    'torch.storage': words('UntypedStorage TypedStorage _UntypedStorage _TypedStorage'),
  }),
);

/** These and all that is below them run programs or code, load what was pickled or compiled, or reach files and networks. */
const dangerousModules = words(`
  os posix nt posixpath ntpath sys subprocess _posixsubprocess shutil commands popen2 pty tty signal
  _osx_support _aix_support _pyrepl
  pickle _pickle cPickle pickletools dill cloudpickle marshal shelve
  importlib imp _imp zipimport pkgutil runpy code codeop site pip ensurepip venv setuptools pkg_resources distutils
  ctypes _ctypes cffi _cffi_backend mmap gc inspect
  bdb pdb profile cProfile trace timeit doctest pydoc idlelib lib2to3 unittest test pytest
  socket _socket socketserver SocketServer ssl _ssl http httplib urllib urllib2 urllib3 requests aiohttp httpx
  ftplib smtplib imaplib poplib nntplib telnetlib xmlrpc webbrowser antigravity asyncio
  atexit compileall py_compile dbm fileinput glob tarfile zipfile zipapp gzip bz2 lzma modulefinder tabnanny mailcap optparse
  readline wsgiref tkinter turtle fcntl resource _winapi _wmi winreg _winreg msilib logging.handlers
  pexpect plumbum invoke fire nose jsonpickle ray mlflow bentoml boto3
  multiprocessing concurrent threading _thread thread sched uuid sqlite3 _sqlite3 paramiko fabric sh
  numpy.f2py numpy.testing numpy.distutils numpy.ctypeslib numpy.lib.npyio
  pandas.io pandas.eval pandas.core.computation
  torch.hub torch.jit torch.package torch.ops torch.classes torch._inductor torch._dynamo torch.fx torch.distributed
  torch.multiprocessing torch.utils.cpp_extension torch.utils.bottleneck torch.utils.collect_env torch.utils._config_module
  torch.utils.data.datapipes torch.utils.model_zoo
  keras.src.saving keras.saving keras.models tensorflow.io tensorflow.python.lib.io tensorflow.python.saved_model
`);

/** Dangerous in modules that also hold what is harmless. */
const dangerousNames = new Map<string, Set<string>>(
  Object.entries({
    copyreg: words('add_extension remove_extension pickle constructor'),
    operator: words('attrgetter itemgetter methodcaller call'),
    _operator: words('attrgetter itemgetter methodcaller call'),
    functools: words('partial partialmethod reduce'),
    _functools: words('partial reduce'),
    types: words('CodeType FunctionType LambdaType MethodType ModuleType'),
    io: words('open open_code FileIO OpenWrapper'),
    _io: words('open open_code FileIO OpenWrapper'),
    logging: words('FileHandler'),
    codecs: words('open'),
    tokenize: words('open'),
    dataclasses: words('make_dataclass'),
    typing: words('get_type_hints'),
    yaml: words('load load_all full_load full_load_all unsafe_load unsafe_load_all'),
    'logging.config': words('dictConfig fileConfig listen'),
    linecache: words('getline getlines updatecache'),
    tempfile: words('NamedTemporaryFile TemporaryFile mkstemp mktemp'),
    joblib: words('load Parallel delayed'),
    'joblib.numpy_pickle': words('load NumpyUnpickler'),
    numpy: words('load loadtxt genfromtxt fromfile memmap save savez savetxt'),
    pandas: words('read_pickle read_csv eval'),
    'numpy.core.multiarray': words('fromfile'),
    'numpy._core.multiarray': words('fromfile'),
    torch: words('load save compile'),
    'torch.serialization': words('load save _load _legacy_load'),
    'torch.storage': words('_load_from_bytes'),
  }),
);

/** Dangerous whatever they are taken from. */
const dangerousAttributes = words(`
  eval exec execfile compile __import__ import_module getattr __getattribute__ system popen spawn check_output Popen
  write_text write_bytes unlink rmdir
  __globals__ __builtins__ __subclasses__ __reduce__ __reduce_ex__ __code__ __loader__ __dict__
`);
