export const credentialKinds = ['irsa', 'workload-identity', 'secret'] as const;

/** How pods may read the bucket. */
export type CredentialKind = (typeof credentialKinds)[number];
