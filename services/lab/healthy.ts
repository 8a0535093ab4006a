/**
 * Whether the cluster as a whole is what `up` promises, as its coordinators see it: every instance and gateway holds its
 * stream, every gateway forwards by the newest table, and the first public addresses are mapped.
 */

import { Coordinators } from "../../src/rpc/coordinators.ts";
import { CallFailed } from "../../src/rpc/failover.ts";
import { sleep } from "../../src/runtime/retry.ts";
import { firstPublicAddresses } from "./addresses.ts";
import { outsideEndpoints } from "./config-files.ts";
import type { OpenLab } from "./lab.ts";
import { LabError } from "./lab-error.ts";
import { hostsOf } from "./plan.ts";

const pollMs = 50;

export async function untilHealthy(lab: OpenLab, timeoutMs: number, signal: AbortSignal): Promise<void> {
  using coordinators = new Coordinators(outsideEndpoints(lab.plan, lab.directory), "lab", signal);
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const faults = await faultsOf(lab, coordinators);
    if (faults.length === 0) return;
    if (performance.now() >= endMs) throw new LabError(`not healthy after ${timeoutMs / 1000} s: ${faults.join("; ")}`);
    await sleep(pollMs, signal);
  }
}

async function faultsOf(lab: OpenLab, coordinators: Coordinators): Promise<readonly string[]> {
  try {
    const instances = new Map((await coordinators.listInstances()).map((instance) => [instance.name, instance]));
    const gateways = new Map((await coordinators.listGateways()).map((gateway) => [gateway.name, gateway]));
    const addresses = new Set<string>((await coordinators.listAddresses()).map(({ address }) => address));
    return [
      ...hostsOf(lab.plan, "instance").flatMap(({ name }) =>
        instances.get(name)?.connected === true ? [] : [`${name} is not connected`],
      ),
      ...hostsOf(lab.plan, "gateway").flatMap(({ name }) =>
        gateways.get(name)?.current === true ? [] : [`${name} does not have the newest addresses`],
      ),
      ...firstPublicAddresses
        .slice(0, lab.plan.options.instances)
        .flatMap((address) => (addresses.has(address) ? [] : [`${address} is not mapped`])),
    ];
  } catch (error) {
    if (error instanceof CallFailed) return [error.message];
    throw error;
  }
}
