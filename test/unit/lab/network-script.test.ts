import { describe, expect, it } from "vitest";
import { bridgeLines, cableLines, gateOf, hostScript, portLines } from "../../../services/lab/network-script.ts";
import { defaultOptions } from "../../../services/lab/options.ts";
import { type Host, hostNamed, planLab } from "../../../services/lab/plan.ts";

const plan = planLab({ ...defaultOptions, gateways: 2, mtu: 1600, clientMtu: 1400 });

function host(name: string): Host {
  const found = hostNamed(plan, name);
  if (found === undefined) throw new Error(`no host ${name}`);
  return found;
}

describe("the script of a lab's network", () => {
  it("makes both ends of a cable in their namespaces", () => {
    expect(cableLines(plan, [host("gw1")])).toEqual([
      "link add eth0 mtu 1400 address 02:ba:c6:33:64:01 netns baton-gw1 type veth peer name c-gw1 mtu 1400 netns baton-fabric",
      "link add eth1 mtu 1600 address 02:ba:0a:4d:00:01 netns baton-gw1 type veth peer name f-gw1 mtu 1600 netns baton-fabric",
    ]);
  });

  it("shuts the gate of the packaging at the hosts that it is for", () => {
    const names = ["client1", "gw1", "vm-a", "tracker1", "coordinator1", "nats1"];
    expect(names.map((name) => gateOf(host(name)))).toEqual([
      undefined,
      "gateway-gate.nft",
      "agent-gate.nft",
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("plugs each cable into the bridge of its network", () => {
    expect(bridgeLines(plan)).toContain("link add br-fabric mtu 1600 type bridge stp_state 0 mcast_snooping 0");
    expect(portLines([host("gw1"), host("vm-a")])).toEqual([
      "link set c-gw1 master br-clients up",
      "link set f-gw1 master br-fabric up",
      "link set f-vm-a master br-fabric up",
    ]);
  });

  it("gives clients and instances a route by every gateway, and control hosts none", () => {
    expect(hostScript(host("client1"))).toContain(
      "route add 0.0.0.0/0 nexthop via 198.51.100.1 nexthop via 198.51.100.202\n",
    );
    expect(hostScript(host("vm-a"))).toContain("route add ::/0 nexthop via fd77::1 nexthop via fd77::2\n");
    expect(hostScript(host("tracker1"))).not.toContain("route add");
  });

  it("lets gateways forward, and nobody else, whatever the machine at hand does", () => {
    expect(hostScript(host("gw1"))).toContain("echo 1 >/proc/sys/net/ipv4/ip_forward\n");
    expect(hostScript(host("vm-a"))).toContain("echo 0 >/proc/sys/net/ipv4/ip_forward\n");
  });
});
