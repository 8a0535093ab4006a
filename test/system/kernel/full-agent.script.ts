/** T's agent as far as it arms its sets: the kernel's rules, the watch of the owner's flows, the transactions. */
import { FollowSets } from "../../../services/agent/follow-sets.ts";
import { KernelState } from "../../../services/agent/kernel-state.ts";
import { visitEntries } from "../../../services/agent/set-entries.ts";
import { flowAges } from "../../../services/coordinator/trackers.ts";
import { defaultMarkMask, markLayout } from "../../../src/dataplane/mark.ts";
import { TrackerClient } from "../../../src/rpc/tracker-client.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { LoopHolds, ownTimeMs } from "../../support/loop-holds.ts";
import { quietLog } from "../../support/tracker.ts";
import { states } from "../../unit/dataplane/agent-states.ts";
import { serveCalls } from "./actor.ts";

const { signal } = new AbortController();
let kernel: KernelState | undefined;

export interface Armed {
  /** Without the time in which others had the processors. */
  readonly tookMs: number;
  readonly entries: number;
  readonly heldMs: number;
}

const calls = {
  open(sysctlFile: string): void {
    const marks = markLayout(defaultMarkMask);
    if (marks === undefined) throw new RangeError("the default mask is no layout");
    kernel = new KernelState({
      marks,
      trackExternalOnly: true,
      hostedPorts: [],
      sysctlFile,
      onSysctlsLost: console.error,
    });
    kernel.begin();
    const fence = { term: 1n, leader: "coordinator1", generation: 1n, digest: "ab".repeat(32) };
    kernel.apply(states.targetArmed, fence);
  },
  /** What a preview asks the trackers. */
  async preview(endpoint: string): Promise<{ flows: number; tookMs: number }> {
    using trackers = new TrackerClient([endpoint]);
    const startMs = ownTimeMs();
    const [address] = states.targetArmed.addresses;
    if (address === undefined) throw new RangeError("the state has no address");
    const { flows } = await flowAges(trackers, address.address, "vm-a", Date.now(), signal);
    return { flows, tookMs: ownTimeMs() - startMs };
  },
  forget: (): void => kernel?.run("flush set inet baton follow_5\n"),
  /** From the order to follow until the owner's flows are in the kernel. */
  async arm(endpoint: string): Promise<Armed> {
    using trackers = new TrackerClient([endpoint]);
    let loaded = false;
    using sets = new FollowSets({
      watch: (query, stop) => trackers.watch(query, { signal: stop }),
      lookup: (keys, atLeast, stop) => trackers.lookup(keys, atLeast, { signal: stop }),
      run: (commands) => kernel?.run(commands),
      hasInherited: (link) => kernel?.hasInherited(link) ?? false,
      visitEntries,
      onLoaded: () => {
        loaded = true;
      },
      log: quietLog,
    });
    using holds = new LoopHolds();
    const startMs = ownTimeMs();
    sets.sync(states.targetArmed.addresses);
    await waitFor(() => loaded, { signal, timeoutMs: 30_000, what: "the sets to be armed" });
    return {
      tookMs: ownTimeMs() - startMs,
      entries: sets.loads().reduce((sum, { entries }) => sum + entries, 0),
      heldMs: holds.longestMs,
    };
  },
};

export type FullAgentCalls = typeof calls;

serveCalls(calls);
