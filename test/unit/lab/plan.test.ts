import { describe, expect, it } from "vitest";
import { defaultOptions } from "../../../services/lab/options.ts";
import { hostNamed, isNamespaceOf, planLab } from "../../../services/lab/plan.ts";

/** Longest name that the kernel gives a device. */
const deviceNameMax = 15;

const small = planLab(defaultOptions);
const large = planLab({
  name: "big",
  instances: 9,
  gateways: 9,
  trackers: 9,
  coordinators: 9,
  clients: 9,
  nats: 9,
  hosting: 9,
  mtu: 9000,
  clientMtu: 1400,
});

function addressesOf(plan: typeof small, name: string): readonly string[] {
  const cables = hostNamed(plan, name)?.cables ?? [];
  return cables.flatMap((cable) =>
    cable.numbers.map(({ ipv4, ipv6 }) => `${cable.device} ${cable.network} ${ipv4} ${ipv6}`),
  );
}

describe("the plan of a lab", () => {
  it("names the hosts of the default lab", () => {
    expect(small.hosts.map((host) => host.namespace)).toEqual([
      "baton-client1",
      "baton-gw1",
      "baton-vm-a",
      "baton-vm-b",
      "baton-vm-c",
      "baton-nats1",
      "baton-tracker1",
      "baton-tracker2",
      "baton-tracker3",
      "baton-coordinator1",
    ]);
    expect(small.fabricNamespace).toBe("baton-fabric");
  });

  it.each([
    ["client1", ["eth0 clients 198.51.100.2 2001:db8:c::2"]],
    ["gw1", ["eth0 clients 198.51.100.1 2001:db8:c::1", "eth1 fabric 10.77.0.1 fd77::1"]],
    ["vm-a", ["eth0 fabric 10.77.0.11 fd77::11", "eth0 fabric 10.77.0.111 fd77::111"]],
    ["vm-c", ["eth0 fabric 10.77.0.13 fd77::13", "eth0 fabric 10.77.0.113 fd77::113"]],
    ["nats1", ["eth0 fabric 10.77.0.21 fd77::21"]],
    ["tracker3", ["eth0 fabric 10.77.0.33 fd77::33"]],
    ["coordinator1", ["eth0 fabric 10.77.0.41 fd77::41"]],
  ])("gives %s its address, however many hosts there are", (name, expected) => {
    expect(addressesOf(small, name)).toEqual(expected);
    expect(addressesOf(large, name)).toEqual(expected);
  });

  it("gives a second gateway .2 on the fabric and leaves client1 its .2 on the other side", () => {
    expect(addressesOf(large, "gw2")).toEqual([
      "eth0 clients 198.51.100.202 2001:db8:c::202",
      "eth1 fabric 10.77.0.2 fd77::2",
    ]);
  });

  it("uses no address, link-layer address or port name twice in the largest lab", () => {
    const cables = large.hosts.flatMap((host) => host.cables);
    for (const values of [
      cables.flatMap((cable) => cable.numbers.map((number) => number.ipv4)),
      cables.flatMap((cable) => cable.numbers.map((number) => number.ipv6)),
      cables.map((cable) => cable.linkAddress),
      cables.map((cable) => cable.port),
    ]) {
      expect(new Set(values).size).toBe(values.length);
    }
    expect(cables.filter((cable) => cable.port.length > deviceNameMax)).toEqual([]);
  });

  it("runs each service on a host of its own and names it as users do", () => {
    expect(small.services.map((service) => `${service.name}@${service.host}`)).toEqual([
      "gateway-gw1@gw1",
      "agent-vm-a@vm-a",
      "agent-vm-b@vm-b",
      "agent-vm-c@vm-c",
      "nats1@nats1",
      "tracker1@tracker1",
      "tracker2@tracker2",
      "tracker3@tracker3",
      "coordinator1@coordinator1",
    ]);
  });

  it("takes only the lab's own namespaces for its own", () => {
    for (const plan of [small, large])
      for (const { namespace } of plan.hosts) expect(isNamespaceOf(plan.options.name, namespace)).toBe(true);
    for (const other of ["baton-t-x-gw1", "baton-2-vm-a", "baton", "baton-", "baton-vm-abc", "baton-gw12x", "bat-gw1"])
      expect(isNamespaceOf("baton", other)).toBe(false);
  });
});
