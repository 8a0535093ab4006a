/** The lab's namespaces, cables and bridges in the kernel. What they are is said by network-script.ts. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./command.ts";
import { type LabDirectory, repositoryRoot } from "./directory.ts";
import { bridgeLines, cableLines, gateOf, hostScript, portLines, unplugLines } from "./network-script.ts";
import { type Host, isNamespaceOf, type LabPlan } from "./plan.ts";

/** Where iproute2 keeps namespaces by name. */
export const namespaceDirectory = "/run/netns";
const gateDirectory = join(repositoryRoot, "packaging/systemd");

export async function buildNetwork(plan: LabPlan, directory: LabDirectory): Promise<void> {
  await batch(directory, "fabric-namespace", [`netns add ${plan.fabricNamespace}`]);
  await batch(directory, "fabric-bridges", bridgeLines(plan), plan.fabricNamespace);
  await boot(plan, directory, plan.hosts);
}

/** Takes a host's kernel state away and gives it a new one. Its processes must be gone. */
export async function rebuildHost(plan: LabPlan, directory: LabDirectory, host: Host): Promise<void> {
  await batch(directory, `${host.name}-unplug`, unplugLines(host), plan.fabricNamespace);
  await removeNamespaces([host.namespace]);
  await boot(plan, directory, [host]);
}

export function existingNamespaces(lab: string): readonly string[] {
  try {
    return readdirSync(namespaceDirectory).filter((namespace) => isNamespaceOf(lab, namespace));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Deleting by name is done at once; the kernel frees what was inside when its last process is gone. */
export async function removeNamespaces(namespaces: readonly string[]): Promise<void> {
  await Promise.all(namespaces.map(async (namespace) => await runCommand("ip", ["netns", "del", namespace])));
}

/** As packaging/systemd has it: the gate is shut before the cable is plugged in. */
async function boot(plan: LabPlan, directory: LabDirectory, hosts: readonly Host[]): Promise<void> {
  const label = hosts.length === 1 ? (hosts[0]?.name ?? "") : "all";
  const namespaces = hosts.map((host) => `netns add ${host.namespace}`);
  await batch(directory, `${label}-namespaces`, namespaces);
  await Promise.all(hosts.map(shutGate));
  await batch(directory, `${label}-cables`, cableLines(plan, hosts));
  await batch(directory, `${label}-ports`, portLines(hosts), plan.fabricNamespace);
  await Promise.all(hosts.map(async (host) => await setUpHost(directory, host)));
}

async function shutGate(host: Host): Promise<void> {
  const gate = gateOf(host);
  if (gate === undefined) return;
  await runCommand("ip", ["netns", "exec", host.namespace, "nft", "-f", join(gateDirectory, gate)]);
}

async function setUpHost(directory: LabDirectory, host: Host): Promise<void> {
  const script = directory.script(`${host.name}.sh`);
  writeFileSync(script, hostScript(host));
  await runCommand("ip", ["netns", "exec", host.namespace, "sh", script]);
}

async function batch(
  directory: LabDirectory,
  name: string,
  lines: readonly string[],
  namespace?: string,
): Promise<void> {
  const file = directory.script(`${name}.batch`);
  writeFileSync(file, `${lines.join("\n")}\n`);
  await runCommand("ip", [...(namespace === undefined ? [] : ["-n", namespace]), "-batch", file]);
}
