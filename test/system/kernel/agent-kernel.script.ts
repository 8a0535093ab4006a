/** An agent's hands on the kernel of its namespace, moved by a test. */
import { KernelState } from "../../../services/agent/kernel-state.ts";
import { defaultMarkMask, markLayout } from "../../../src/dataplane/mark.ts";
import { states } from "../../unit/dataplane/agent-states.ts";
import { serveCalls } from "./actor.ts";

let kernel: KernelState | undefined;

function opened(): KernelState {
  if (kernel === undefined) throw new Error("call open first");
  return kernel;
}

const calls = {
  open(sysctlFile: string) {
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
  },
  apply(name: keyof typeof states, generation: number) {
    opened().apply(states[name], {
      term: 1n,
      leader: "coordinator1",
      generation: BigInt(generation),
      digest: "ab".repeat(32),
    });
  },
  run: (commands: string) => opened().run(commands),
  generation: () => Number(opened().fence?.generation ?? 0n),
  channels: () => opened().channels(),
  counters: () => [...opened().counters().keys()],
  cleanup: () => opened().cleanup(),
};

export type AgentKernelCalls = typeof calls;

serveCalls(calls);
