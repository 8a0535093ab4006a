/** What has gone through the links since they were set up, read from the kernel, and whether it moves. */
import type { AgentState } from "../../src/node/state.ts";
import type { LinkReport } from "../../src/node/status.ts";
import type { KernelState } from "./kernel-state.ts";
import type { LinkProbes } from "./link-probes.ts";
import { linkReport } from "./link-report.ts";

/** What the coordinator acts on. */
const watchedCounters = ["followedPackets", "returnedPackets", "superseded", "probesSent", "probesAnswered"] as const;

export class LinkCounters {
  readonly #kernel: Pick<KernelState, "counters">;
  readonly #probes: LinkProbes;
  #links: readonly LinkReport[] = [];

  constructor(kernel: Pick<KernelState, "counters">, probes: LinkProbes) {
    this.#kernel = kernel;
    this.#probes = probes;
  }

  reports(): readonly LinkReport[] {
    return this.#links;
  }

  /** True: a counter has moved. */
  count(state: AgentState): boolean {
    const before = this.#links;
    if (state.links.length === 0) {
      this.#links = [];
      return before.length > 0;
    }
    this.#probes.send(state);
    const counters = this.#kernel.counters();
    this.#links = state.links.map((link) => linkReport(link, counters, this.#probes.sent(link.id)));
    return this.#links.some((link, index) => hasMoved(link, before[index]));
  }
}

function hasMoved(link: LinkReport, before: LinkReport | undefined): boolean {
  return before?.id !== link.id || watchedCounters.some((counter) => link[counter] !== before[counter]);
}
