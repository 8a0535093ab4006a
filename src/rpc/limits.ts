/** Sizes that every server and client holds others to. */

/** Largest message in either direction; whole desired states and pages of flows are far below it. */
export const messageBytesMax = 16 * 1024 * 1024;

/** A silent peer is asked for a sign of life after this, and given up after {@link keepaliveTimeoutMs} more. */
export const keepaliveTimeMs = 10_000;
export const keepaliveTimeoutMs = 5_000;

/** Text of an error on the wire: trailers have 8 KiB altogether. */
export const errorMessageCharactersMax = 2_000;

export const nameCharactersMax = 63;
export const idCharactersMax = 128;
export const textCharactersMax = 4_096;

export const prefixesMax = 256;
export const addressesMax = 100_000;
export const linksMax = 1_023;
export const requestsMax = 10_000;
export const positionsMax = 4_096;
export const devicesMax = 1_024;
export const addressesPerDeviceMax = 256;
/** Names of nodes in one answer. */
export const nodesMax = 100_000;
export const waitingForMax = 1_000;
