import type { RegistryOptions } from './registry.ts';

/** Who may do everything in those profiles that know users. */
export const profileUser = { user: 'tester', password: 'canary-password-that-must-not-leak' };
/** For the profile that takes identity tokens. */
export const profileIdentity = 'canary-identity-that-must-not-leak';

const mebi = 1024 * 1024;
const tokens = { kind: 'bearer', ...profileUser } as const;

/**
 * How the registries that people meet behave, as far as a client notices. Those that can be run here (distribution,
 * olareg, crane) were measured; of the others it is what their documentation and the issues of their clients tell.
 */
export const registryProfiles = {
  /** Pulls need a token too, blobs come from elsewhere, a mount needs the right to pull from its source. */
  dockerHub: { auth: { ...tokens, pullAnonymous: true }, redirectBlobs: true, referrers: false, location: 'absolute' },
  /** Takes no body with Content-Range of more than 4 MiB. */
  ghcr: { auth: tokens, redirectBlobs: true, referrers: false, maxChunk: { bytes: 4 * mebi } },
  /** Repositories are made beforehand, chunks have at least 5 MiB and are answered with 201, nothing is mounted. */
  ecr: {
    auth: { kind: 'basic', ...profileUser },
    createFirst: true,
    location: 'absolute',
    minChunk: { bytes: 5 * mebi, told: false },
    mount: false,
    patchStatus: 201,
    redirectBlobs: true,
  },
  /** Credentials are identity tokens. */
  acr: { auth: { ...tokens, refreshToken: profileIdentity }, pageSize: 100, redirectBlobs: true },
  /** Projects do not mount from each other; replicas see a blob later than it was taken. */
  harbor: { auth: tokens, mount: 403, seesBlobsAfter: 1 },
  quay: { auth: tokens, location: 'absolute', redirectBlobs: true },
  /** 403 for what is not there, and 406 for who says what he accepts where there is nothing to choose. */
  artifactory: { auth: tokens, absentHeadStatus: 403, refuseAccept: true },
  /** The tag `sha256-<hex>` is the manifest with that digest. */
  gitlab: { auth: tokens, digestTagIsSubject: true, referrers: false, location: 'absolute' },
  /** An upload in which a request broke off is lost; chunks are put one after the other wherever they belong. */
  distribution2: {
    location: 'absolute',
    manifestTooLarge: 400,
    outOfOrder: 'taken',
    referrers: false,
    sha256Only: true,
    uploadStatus: 'unless broken',
  },
  distribution3: {
    location: 'absolute',
    manifestTooLarge: 400,
    outOfOrder: 'refused without headers',
    referrers: false,
    sha256Only: true,
  },
  olareg: { emptyTags: true, singlePost: true },
  /** Keeps to what crane itself needs. */
  craneRegistry: {
    anyAccept: true,
    cancelStatus: 400,
    closedRangesOnly: true,
    missingBlobs: true,
    mount: false,
    referrers: false,
    singlePost: true,
    sparse: true,
    uploadStatus: 400,
  },
} as const satisfies Record<string, RegistryOptions>;
