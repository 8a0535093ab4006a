import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { z } from "zod";
import { agentConfigSchema } from "../../../services/agent/config.ts";
import { coordinatorConfigSchema } from "../../../services/coordinator/config.ts";
import { gatewayConfigSchema } from "../../../services/gateway/config.ts";
import { trackerConfigSchema } from "../../../services/tracker/config.ts";
import { repositoryRoot } from "../../check/files.ts";

interface ComposeService {
  readonly image: string;
  readonly command: readonly string[];
  readonly network_mode?: string;
  readonly privileged?: boolean;
  readonly cap_add?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes: readonly string[];
  readonly depends_on?: readonly string[];
}

interface ListenConfig {
  readonly listen?: readonly string[];
  readonly gossip?: { readonly listen: string };
}

interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const schemas: Readonly<Record<string, z.ZodType>> = {
  agent: agentConfigSchema,
  coordinator: coordinatorConfigSchema,
  gateway: gatewayConfigSchema,
  tracker: trackerConfigSchema,
};

const compose = parse(readFileSync(join(repositoryRoot, "compose.yaml"), "utf8"), { merge: true }) as Compose;
const ours = Object.entries(compose.services).filter(([, { image }]) => image === "baton");

function configOf({ command }: ComposeService): ListenConfig {
  const name = command[2]?.replace(/^\/etc\/baton\//, "") ?? "";
  return parse(readFileSync(join(repositoryRoot, "packaging/compose", name), "utf8"));
}

describe("compose.yaml", () => {
  it("has a whole control plane, and a node of each kind", () => {
    expect(Object.keys(compose.services)).toEqual([
      "nats",
      "tracker1",
      "tracker2",
      "tracker3",
      "coordinator",
      "agent",
      "gateway",
    ]);
  });

  it.each(ours)("starts %s with a configuration that it accepts", (_, service) => {
    const [kind = "", flag] = service.command;
    expect(flag).toBe("--config");
    const { success, error } = schemas[kind]?.safeParse(configOf(service)) ?? {};
    expect({ success, error }).toEqual({ success: true, error: undefined });
  });

  it.each(ours)("publishes the ports that %s listens on, unless it has its host's network", (_, service) => {
    const { listen = [], gossip } = configOf(service);
    const portOf = (endpoint: string): string => endpoint.split(":").at(-1) ?? "";
    const gossiping = gossip === undefined ? [] : [portOf(gossip.listen), `${portOf(gossip.listen)}/udp`];
    const listening = [...listen.map(portOf), ...gossiping];
    const published = (service.ports ?? []).map((mapping) => mapping.split(":")[1]);
    expect(published).toEqual(listening);
    if (service.network_mode === "host") expect(published).toEqual([]);
  });

  it.each(["agent", "gateway"])("gives %s its host's network and no more rights than it needs", (name) => {
    const service = compose.services[name];
    expect(service).toMatchObject({ network_mode: "host", cap_drop: ["ALL"], cap_add: ["NET_ADMIN", "NET_RAW"] });
    expect(service?.privileged).toBeUndefined();
  });

  it("declares what its services refer to", () => {
    for (const service of Object.values(compose.services)) {
      for (const other of service.depends_on ?? []) expect(Object.keys(compose.services)).toContain(other);
      for (const mount of service.volumes) {
        const source = mount.split(":")[0] ?? "";
        const known = source.startsWith("./") ? existsSync(join(repositoryRoot, source)) : source in compose.volumes;
        expect({ mount, known }).toEqual({ mount, known: true });
      }
    }
  });
});
