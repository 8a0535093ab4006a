/**
 * What the tracker beside has on the disk: the one trace of it that outlives the agent.
 *
 * As long as it is there something may hang on it: a copy that was given away counts until its new holder has caught up. So
 * an agent that finds it starts the tracker, whatever the epochs say, and removes it when that holds nothing any more.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";

export class TrackerData {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  exists(): boolean {
    return existsSync(join(this.#directory, "flows"));
  }

  /** While no tracker runs. The database last: a crash before that is made good by the next removal. */
  async remove(): Promise<void> {
    for (const name of ["epoch", "flows"]) await rm(join(this.#directory, name), { recursive: true, force: true });
  }
}
