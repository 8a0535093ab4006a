import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { z } from "zod";
import { agentConfigSchema } from "../../../services/agent/config.ts";
import { coordinatorConfigSchema } from "../../../services/coordinator/config.ts";
import { gatewayConfigSchema } from "../../../services/gateway/config.ts";
import { outsideEndpoints, renderConfig } from "../../../services/lab/config-files.ts";
import { labDirectory } from "../../../services/lab/directory.ts";
import { defaultOptions } from "../../../services/lab/options.ts";
import { hostNamed, type LabPlan, planLab, type ServiceKind } from "../../../services/lab/plan.ts";
import { trackerConfigSchema } from "../../../services/tracker/config.ts";

const schemas: Record<Exclude<ServiceKind, "nats">, z.ZodType> = {
  agent: agentConfigSchema,
  gateway: gatewayConfigSchema,
  tracker: trackerConfigSchema,
  coordinator: coordinatorConfigSchema,
};

const directory = labDirectory("baton");
const small = planLab(defaultOptions);
const large = planLab({ ...defaultOptions, instances: 9, gateways: 3, trackers: 5, coordinators: 3, nats: 3 });

function configOf(plan: LabPlan, name: string): string {
  const service = plan.services.find((candidate) => candidate.name === name);
  const host = service === undefined ? undefined : hostNamed(plan, service.host);
  if (service === undefined || host === undefined) throw new Error(`no service ${name}`);
  return renderConfig(plan, directory, service, host);
}

describe("configuration of the lab's services", () => {
  it.each([
    ["the default lab", small],
    ["a large one", large],
  ])("is what each service accepts, in %s", (_, plan) => {
    for (const { name, kind } of plan.services) {
      if (kind === "nats") continue;
      const { success, error } = schemas[kind].safeParse(parse(configOf(plan, name)));
      expect({ name, success, error }).toEqual({ name, success: true, error: undefined });
    }
  });

  it("gives an agent both private addresses of its host, the one that others send to first", () => {
    expect(parse(configOf(small, "agent-vm-b"))).toMatchObject({
      name: "vm-b",
      privateAddresses: ["10.77.0.12", "10.77.0.112"],
    });
  });

  it("tells everyone of every coordinator, tracker and NATS server", () => {
    expect(parse(configOf(large, "agent-vm-a"))).toMatchObject({
      coordinators: ["10.77.0.41:7400", "10.77.0.42:7400", "10.77.0.43:7400"],
      trackers: ["10.77.0.31:7410", "10.77.0.32:7410", "10.77.0.33:7410", "10.77.0.34:7410", "10.77.0.35:7410"],
      nats: { servers: ["10.77.0.21:4222", "10.77.0.22:4222", "10.77.0.23:4222"] },
    });
  });

  it("lets as many agents host a tracker as are asked for, at their first address", () => {
    const plan = planLab({ ...defaultOptions, hosting: 2 });
    expect(parse(configOf(plan, "agent-vm-b"))).toMatchObject({
      hosting: { gossip: { listen: "10.77.0.12:7420", label: "baton" } },
    });
    expect(parse(configOf(plan, "agent-vm-c"))).not.toHaveProperty("hosting");
    expect(agentConfigSchema.safeParse(parse(configOf(plan, "agent-vm-a"))).success).toBe(true);
  });

  it("makes NATS a cluster only where there are several servers", () => {
    expect(configOf(small, "nats1")).not.toContain("cluster");
    expect(configOf(large, "nats2")).toContain('listen: "10.77.0.22:6222"');
  });

  it("lists the unix sockets of all coordinators for programs outside", () => {
    expect(outsideEndpoints(large, directory)).toEqual(
      ["coordinator1", "coordinator2", "coordinator3"].map((name) => `unix:${directory.socket(name)}`),
    );
  });
});
