/**
 * Measures how long connections were silent around a switch, by looking at the kernel's times every {@link sampleMs} from
 * the moment at which a channel is set up until shortly after the replies have moved into it.
 *
 * It measures or leaves out: where looking so often would cost the host too much, there is no figure.
 */
import type { IpAddress } from "../../src/flow/address.ts";
import { SilenceMeter, type SilenceSample } from "../../src/flow/silence.ts";
import { type AgentAddress, type AgentState, hasSwitched } from "../../src/node/state.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";

export interface SilenceWatchParts {
  /** How long each connection of this private address with an external peer has been silent. */
  activity(address: AgentAddress, state: AgentState): readonly SilenceSample[];
  /** TCP sockets of this host, of which a look has to read every one; undefined: the kernel does not say. */
  sockets(): number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

const sampleMs = 10;
/** Looks go on so long after the switch, to know the rhythm of each flow, */
const afterMs = 1_500;
/** and so long while one has not been heard of since. */
const unheardMs = 5_000;
/** A switch that does not come in this time is not measured. */
const watchMaxMs = 60_000;
/** A look at so many takes about 3 ms. */
const socketsMax = 1_000;
/** Looks may take this part of the time, together. */
const costShareMax = 0.4;
const firstLooks = 20;

interface Watch {
  readonly meter: SilenceMeter;
  readonly generation: bigint;
  readonly startMs: number;
  address: AgentAddress;
  state: AgentState;
  switchedMs?: number;
  looks: number;
  costMs: number;
  timer?: NodeJS.Timeout;
  longestMs?: number;
}

export class SilenceWatch implements Disposable {
  readonly #parts: SilenceWatchParts;
  readonly #watches = new Map<IpAddress, Watch>();

  constructor(parts: SilenceWatchParts) {
    this.#parts = parts;
  }

  /** Follows a state's addresses through their switch. The same state again changes nothing. */
  watch(state: AgentState): void {
    for (const [address, watch] of this.#watches) {
      const now = state.addresses.find((entry) => entry.address === address);
      if (now?.generation === watch.generation && isOwner(now, state)) continue;
      clearTimeout(watch.timer);
      this.#watches.delete(address);
    }
    for (const address of state.addresses) {
      const watch = this.#watches.get(address.address) ?? this.#begin(address, state);
      if (watch === undefined) continue;
      watch.address = address;
      watch.state = state;
      const nowMs = this.#parts.clock.monotonicMs();
      if (address.egress.kind === "armed") watch.meter.arm(nowMs);
      if (!hasSwitched(address.egress) || watch.switchedMs !== undefined) continue;
      watch.switchedMs = nowMs;
      watch.meter.switched(nowMs);
    }
  }

  /** Once it is measured. */
  longestMs(address: IpAddress): number | undefined {
    return this.#watches.get(address)?.longestMs;
  }

  [Symbol.dispose](): void {
    for (const watch of this.#watches.values()) clearTimeout(watch.timer);
    this.#watches.clear();
  }

  /** Only a switch that is seen from before its begin can be measured. */
  #begin(address: AgentAddress, state: AgentState): Watch | undefined {
    if (hasSwitched(address.egress) || !isOwner(address, state)) return undefined;
    const { generation } = address;
    const startMs = this.#parts.clock.monotonicMs();
    const watch: Watch = { meter: new SilenceMeter(), generation, startMs, address, state, looks: 0, costMs: 0 };
    this.#watches.set(address.address, watch);
    this.#look(watch);
    return watch;
  }

  #look(watch: Watch): void {
    const { clock, log } = this.#parts;
    const beganMs = clock.monotonicMs();
    try {
      const why = this.#sample(watch, beganMs);
      if (why === "done") return;
      if (why !== undefined) {
        log.info({ address: watch.address.address, why }, "the silence around the switch is not measured");
        return;
      }
    } catch (error) {
      log.warn({ error, address: watch.address.address }, "the silence around the switch is not measured");
      return;
    }
    const tookMs = clock.monotonicMs() - beganMs;
    watch.costMs += tookMs;
    watch.timer = setTimeout(() => this.#look(watch), Math.max(0, sampleMs - tookMs));
  }

  /** Why this was the last look; undefined: it was not. */
  #sample(watch: Watch, nowMs: number): string | undefined {
    if (++watch.looks % firstLooks === 1 && (this.#parts.sockets() ?? socketsMax + 1) > socketsMax)
      return `more than ${socketsMax} sockets`;
    if (watch.looks > firstLooks && watch.costMs > costShareMax * (nowMs - watch.startMs))
      return "looking takes too long";
    watch.meter.note(this.#parts.activity(watch.address, watch.state), nowMs);
    if (watch.switchedMs === undefined)
      return nowMs - watch.startMs > watchMaxMs ? "the switch did not come" : undefined;
    const sinceMs = nowMs - watch.switchedMs;
    if (sinceMs < afterMs || (sinceMs < unheardMs && !watch.meter.complete)) return undefined;
    const { longestMs } = watch.meter;
    if (longestMs !== undefined) watch.longestMs = Math.round(longestMs);
    return "done";
  }
}

/** This host is the end of a channel that owns flows of the address. */
function isOwner(address: AgentAddress, state: AgentState): boolean {
  return state.links.some((link) => link.ownerEnd && link.localPrivate === address.private);
}
