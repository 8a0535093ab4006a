/**
 * The lab's network as input of iproute2 and sh. Pure; network.ts runs it.
 *
 * Cables are made with both ends in their namespaces, so nothing of the lab ever shows up in the host's own network.
 */
import type { Cable, Host, LabPlan, NetworkName } from "./plan.ts";

const bridgeOf: Readonly<Record<NetworkName, string>> = { fabric: "br-fabric", clients: "br-clients" };

/** What packaging/systemd loads into such a host before its network is up; undefined: nothing. */
export function gateOf(host: Host): "agent-gate.nft" | "gateway-gate.nft" | undefined {
  if (host.role === "instance") return "agent-gate.nft";
  return host.role === "gateway" ? "gateway-gate.nft" : undefined;
}

/** Lines for `ip -batch`: cables of these hosts. Their namespaces and the fabric's must be there. */
export function cableLines(plan: LabPlan, hosts: readonly Host[]): readonly string[] {
  return hosts.flatMap((host) =>
    host.cables.map(
      (cable) =>
        `link add ${cable.device} mtu ${cable.mtu} address ${cable.linkAddress} netns ${host.namespace} ` +
        `type veth peer name ${cable.port} mtu ${cable.mtu} netns ${plan.fabricNamespace}`,
    ),
  );
}

/** Lines for `ip -batch` in the fabric's namespace. */
export function bridgeLines(plan: LabPlan): readonly string[] {
  const { mtu, clientMtu } = plan.options;
  return [
    "link set lo up",
    `link add ${bridgeOf.fabric} mtu ${mtu} type bridge stp_state 0 mcast_snooping 0`,
    `link add ${bridgeOf.clients} mtu ${clientMtu} type bridge stp_state 0 mcast_snooping 0`,
    ...Object.values(bridgeOf).map((bridge) => `link set ${bridge} up`),
  ];
}

/** Lines for `ip -batch` in the fabric's namespace: plugs these hosts in. */
export function portLines(hosts: readonly Host[]): readonly string[] {
  return hosts.flatMap((host) =>
    host.cables.map((cable) => `link set ${cable.port} master ${bridgeOf[cable.network]} up`),
  );
}

/** Lines for `ip -batch` in the fabric's namespace: unplugs a host. The other ends of its cables go at once as well. */
export function unplugLines(host: Host): readonly string[] {
  return host.cables.map((cable) => `link del ${cable.port}`);
}

/** A script for sh in the host's namespace: its sysctls, addresses and routes. */
export function hostScript(host: Host): string {
  const sysctls = sysctlsOf(host).map(([key, value]) => `echo ${value} >/proc/sys/net/${key}`);
  return [
    "set -e",
    ...sysctls,
    "ip -batch - <<'END'",
    "link set lo up",
    ...host.cables.flatMap(addressLines),
    ...defaultRoutes(host),
    "END",
    "",
  ].join("\n");
}

/**
 * Set in full, as a namespace copies IPv4's from the machine at hand: a lab must not depend on where it runs.
 * They are the kernel's defaults, but for rp_filter, which Debian sets to 2, and multipath, which looks at ports as well.
 */
function sysctlsOf(host: Host): readonly (readonly [string, string | number])[] {
  const devices = ["all", "default", ...host.cables.map((cable) => cable.device)];
  const forwarding = host.forwards ? 1 : 0;
  return [
    ["ipv4/ip_forward", forwarding],
    ["ipv6/conf/all/forwarding", forwarding],
    ["ipv4/fib_multipath_hash_policy", 1],
    ...devices.flatMap((device) => [
      [`ipv4/conf/${device}/rp_filter`, 2] as const,
      [`ipv4/conf/${device}/send_redirects`, 1] as const,
      [`ipv4/conf/${device}/accept_redirects`, host.forwards ? 0 : 1] as const,
    ]),
  ];
}

function addressLines(cable: Cable): readonly string[] {
  return [
    `link set ${cable.device} up`,
    ...cable.numbers.flatMap(({ ipv4, ipv6 }) => [
      `addr add ${ipv4}/24 dev ${cable.device}`,
      `addr add ${ipv6}/64 dev ${cable.device} nodad`,
    ]),
  ];
}

function defaultRoutes(host: Host): readonly string[] {
  if (host.defaultVia.length === 0) return [];
  return (["ipv4", "ipv6"] as const).map((family) => {
    const hops = host.defaultVia.map((via) => `via ${via[family]}`);
    const target = hops.length === 1 ? hops.join("") : hops.map((hop) => `nexthop ${hop}`).join(" ");
    return `route add ${family === "ipv4" ? "0.0.0.0/0" : "::/0"} ${target}`;
  });
}
