// Kernels and images that descriptions of VMs name by the SHA-256 of their bytes.
export const BLOBS_PREFIX = 'cluster/blobs/';
