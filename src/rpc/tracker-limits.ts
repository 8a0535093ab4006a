/** Sizes that TrackerService and its clients hold each other to. */

/** Keys of one look-up. */
export const lookupKeysMax = 10_000;
/** Flows in one message of a stream: some 2 ms of work at either end, so that nobody else waits long for theirs. */
export const flowsPerPage = 250;
/** Changes that one watcher may leave unread. */
export const unreadChangesMax = 100_000;
/** Addresses and owners in one count. */
export const countsMax = 1_000_000;
/** Others' changes after which a watcher is told the position, so that it stays within the change log. */
export const untoldChangesMax = 2_000;
/** Bytes of a shard's rows in one message of a transfer, about. */
export const transferPartBytes = 262_144;
/** Shards that one tracker gives at a time; who asks for more asks again. */
export const transfersMax = 4;
/** Rows of one shard: flows, ended ones, senders. */
export const transferRowsMax = 16_000_000;
/** A sender's row lists what it forwards. */
export const rowBytesMax = 4_194_304;
