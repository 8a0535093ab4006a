/** The newest epoch that a tracker has seen, on its disk: what it goes by while NATS can't be reached. */
import { decodeEpoch, encodeEpoch } from "../../src/bus/epoch-record.ts";
import type { Assignment } from "../../src/placement/assignment.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { type FileCodec, readStateFile, writeStateFile } from "../../src/runtime/state-file.ts";

export class EpochFile {
  readonly #path: string;
  readonly #codec: FileCodec<Assignment>;
  readonly #log: Logger;

  constructor(path: string, shards: number, log: Logger) {
    this.#path = path;
    this.#log = log;
    this.#codec = {
      encode: (assignment) => encodeEpoch(assignment, "file"),
      decode: (bytes) => decodeEpoch(statedEpoch(bytes), bytes, shards),
    };
  }

  /** Undefined: none, or none that can be read. */
  async read(): Promise<Assignment | undefined> {
    const content = await readStateFile(this.#path, this.#codec);
    if (content.kind === "damaged") this.#log.warn({ reason: content.message }, "the last epoch seen can't be read");
    return content.kind === "found" ? content.value : undefined;
  }

  /** A disk that is full costs a restart without NATS its knowledge, and nothing else. */
  async write(assignment: Assignment): Promise<void> {
    try {
      await writeStateFile(this.#path, assignment, this.#codec);
    } catch (error) {
      this.#log.error({ error }, "the epoch could not be written to the disk");
    }
  }
}

/** No key names the number here, so the record's own counts. */
function statedEpoch(bytes: Uint8Array): bigint {
  try {
    const { epoch } = JSON.parse(Buffer.from(bytes).toString("utf8")) as { epoch?: unknown };
    return typeof epoch === "number" && Number.isSafeInteger(epoch) ? BigInt(epoch) : 0n;
  } catch {
    return 0n;
  }
}
