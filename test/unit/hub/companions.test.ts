import { describe, expect, it } from 'vitest';
import {
  type Companion,
  companionsNamedBy,
  filesWanted,
  namesCompanions,
} from '../../../src/hub/selection/companions.ts';

const named = (path: string, document: unknown): string[] =>
  companionsNamedBy('org/self', path, document).map(({ repo, revision, key, need, folder }) =>
    [`${repo}@${revision}`, key, need, ...(folder ? [folder] : [])].join(' '),
  );

describe('a file names', () => {
  it.each<[string, unknown, string[]]>([
    ['config.json', { auto_map: { AutoModel: 'a/b--m.C' }, code_revision: 'abc' }, ['a/b@abc auto_map.AutoModel code']],
    ['x/config.json', { auto_map: { AutoModel: 'm.C' } }, []],
    ['config.json', { auto_map: { AutoModel: 'org/self--m.C' } }, []],
    [
      'tokenizer_config.json',
      { auto_map: { AutoTokenizer: ['a/b--t.Slow', null] } },
      ['a/b@main auto_map.AutoTokenizer code'],
    ],
    // As tokenizers wrote it before it was a map, and image processors do for several ways to run them.
    ['tokenizer_config.json', { auto_map: ['a/b--t.Slow', null] }, ['a/b@main auto_map code']],
    [
      'preprocessor_config.json',
      { auto_map: { AutoImageProcessor: { torchvision: 'a/b--i.Fast', pil: 'c--i.Slow' } } },
      ['a/b@main auto_map.AutoImageProcessor.torchvision code', 'c@main auto_map.AutoImageProcessor.pil code'],
    ],
    [
      'processor_config.json',
      { image_processor: { auto_map: { AutoImageProcessor: 'a/b--i.P' } } },
      ['a/b@main image_processor.auto_map.AutoImageProcessor code'],
    ],
    ['tokenizer_config.json', { name_or_path: 'a/b' }, []],
    ['config.json', { _name_or_path: 'a/b', encoder_model_name: 'a/b' }, ['a/b@main encoder_model_name repo']],
    [
      'adapter_config.json',
      { base_model_name_or_path: 'a/b', revision: null },
      ['a/b@main base_model_name_or_path repo'],
    ],
    [
      'gliner_config.json',
      { model_name: 'a/b', labels_encoder: 'c', labels_decoder: 'd/e' },
      ['a/b@main model_name repo', 'c@main labels_encoder repo', 'd/e@main labels_decoder repo'],
    ],
    [
      'config.json',
      { custom_pipelines: { one: { impl: 'a/b--p.Pipeline' }, other: { impl: 'p.Pipeline' } } },
      ['a/b@main custom_pipelines.one.impl code'],
    ],
    [
      'config.json',
      { text_config: { hf_model_name_or_path: 'a/b' } },
      ['a/b@main text_config.hf_model_name_or_path tokenizer'],
    ],
    ['glirel_config.json', { model_name: 'a/b' }, ['a/b@main model_name repo']],
    [
      'open_clip_config.json',
      { model_cfg: { text_cfg: { hf_tokenizer_name: 'a/b' } } },
      ['a/b@main model_cfg.text_cfg.hf_tokenizer_name tokenizer'],
    ],
    [
      'modules.json',
      [{ type: 'a/b--m.Pooling' }, { type: 'sentence_transformers.models.Dense' }],
      ['a/b@main 0.type code'],
    ],
    ['sentence_bert_config.json', { tokenizer_name_or_path: 'a/b' }, ['a/b@main tokenizer_name_or_path tokenizer']],
    ['preprocessor_config.json', { auto_map: { AutoProcessor: 'a/b--p.P' } }, ['a/b@main auto_map.AutoProcessor code']],
    ['router_config.json', { types: { query_0: 'a/b--m.Query', x: 'm.X' } }, ['a/b@main types.query_0 code']],
    [
      'processor_config.json',
      { audio_tokenizer: { audio_tokenizer_class: 'DacModel', audio_tokenizer_name_or_path: 'a/b' } },
      ['a/b@main audio_tokenizer.audio_tokenizer_name_or_path repo'],
    ],
    [
      'audio_tokenizer_config.json',
      { audio_tokenizer_name_or_path: 'a/b' },
      ['a/b@main audio_tokenizer_name_or_path repo'],
    ],
    ['speaker_embeddings_path.json', { repo_or_path: 'a/b' }, ['a/b@main repo_or_path voices']],
    [
      'modular_model_index.json',
      {
        _class_name: 'Pipeline',
        unet: ['diffusers', 'UNet', { pretrained_model_name_or_path: 'a/b', subfolder: 'unet', revision: 'fp16' }],
        vae: ['diffusers', 'Vae', { repo: ['c', 'org/self'], subfolder: '' }],
        guider: ['diffusers', 'Guider', { pretrained_model_name_or_path: null }],
        scheduler: ['diffusers', 'Scheduler'],
      },
      ['a/b@fp16 unet.pretrained_model_name_or_path repo unet', 'c@main vae.repo repo'],
    ],
    ['README.md', { model_name: 'a/b' }, []],
  ])('%s: %j', (path, document, expected) => {
    expect(named(path, document)).toEqual(expected);
  });

  it.each(['./x', '/data/model', '../up', 'C:\\model', '~/x', 'a/b/c', 'a b', '', 'a/..', 'https://x/y'])(
    'no repo by %j, which is a path or nothing',
    (value) => {
      expect(named('adapter_config.json', { base_model_name_or_path: value })).toEqual([]);
    },
  );

  it.each([null, 1, 'text', [], [1], { auto_map: null }, { auto_map: 'a/b--x.Y' }, { auto_map: { A: 1 } }])(
    'nothing when it is not what it should be: %j',
    (document) => {
      for (const path of ['config.json', 'modules.json', 'open_clip_config.json'])
        expect(named(path, document)).toEqual([]);
    },
  );
});

it('only files that are known to name repos are read', () => {
  expect(['config.json', 'a/b/gliner_config.json', 'weights.bin', 'x/toString'].map(namesCompanions)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

it.each<[string, Partial<Companion>, string[]]>([
  ['a folder', { folder: 'text[1]' }, ['text[[]1]/*']],
  ['voices', { need: 'voices' }, ['*.npy']],
  ['all of it', {}, []],
])('of a companion is wanted %s', (_, what, patterns) => {
  expect(filesWanted({ repo: 'a/b', revision: 'main', key: 'k', need: 'repo', ...what })).toEqual(patterns);
});
