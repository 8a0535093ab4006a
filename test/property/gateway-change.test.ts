import fc from "fast-check";
import { expect, test } from "vitest";
import { checkGatewayState } from "../../src/dataplane/gateway-check.ts";
import { type GatewayTable, gatewayTable, renderChange, renderTable } from "../../src/dataplane/gateway-ruleset.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { GatewayState } from "../../src/node/state.ts";
import { before, devices, ip, prefix } from "../unit/dataplane/gateway-states.ts";

/** What nft would hold after a transaction, and what it would refuse: deleting what is absent, adding what is taken. */
class TableModel {
  readonly chains = new Map<string, string[]>();
  readonly elements = new Map<string, Map<string, string>>();

  run(text: string): void {
    for (const line of text.split("\n").filter((command) => command !== "")) this.#command(line);
  }

  #command(line: string): void {
    const [, verb, kind, name = "", rest = ""] = /^(\w+) (\w+) inet baton ?(\S*) ?(.*)$/.exec(line) ?? [];
    const entries = rest.replace(/^\{ | \}$/g, "").split(", ");
    switch (`${verb} ${kind}`) {
      case "add table":
      case "add counter":
        return;
      case "add chain":
        if (!this.chains.has(name)) this.chains.set(name, []);
        return;
      case "flush chain":
        this.chains.set(name, []);
        return;
      case "add rule":
        this.chains.get(name)?.push(rest);
        return;
      case "add map":
      case "add set":
        if (!this.elements.has(name)) this.elements.set(name, new Map());
        return;
      case "flush map":
      case "flush set":
        this.elements.get(name)?.clear();
        return;
      case "add element":
        for (const entry of entries) this.#add(name, entry);
        return;
      case "delete element":
        for (const key of entries)
          if (this.elements.get(name)?.delete(key) !== true) throw new Error(`${name} has no ${key}`);
        return;
      default:
        throw new Error(`the model does not know: ${line}`);
    }
  }

  #add(name: string, entry: string): void {
    const [key = "", value = ""] = entry.split(" : ");
    const held = this.elements.get(name)?.get(key);
    if (held !== undefined && held !== value) throw new Error(`${name} has ${key} already, with another value`);
    this.elements.get(name)?.set(key, value);
  }
}

const publicAddress = fc.integer({ min: 1, max: 6 }).map((host) => ip(`203.0.113.${host}`));
const privateAddress = fc.integer({ min: 11, max: 20 }).map((host) => ip(`10.77.0.${host}`));
const state: fc.Arbitrary<GatewayState> = fc
  .record({
    publicPrefixes: fc.constantFrom([prefix("203.0.113.0/24")], [prefix("203.0.113.0/25"), prefix("203.0.113.128/25")]),
    mappings: fc.array(fc.record({ address: publicAddress, private: privateAddress, generation: fc.constant(1n) }), {
      maxLength: 6,
    }),
    accepts: fc.array(fc.record({ address: publicAddress, private: privateAddress, retiring: fc.boolean() }), {
      maxLength: 6,
    }),
  })
  .map((parts) => ({ ...before, ...parts }))
  .filter((candidate) => checkGatewayState(candidate).refusal === undefined);
const step = fc.tuple(state, fc.uniqueArray(privateAddress, { maxLength: 4 }));

test("changes one after the other lead to the same table as writing the last one whole", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
      const tables = steps.map(([wanted, gone]) => gatewayTable(devices, wanted, new Set<IpAddress>(gone)));
      const changed = new TableModel();
      let previous: GatewayTable | undefined;
      for (const table of tables) {
        changed.run(previous === undefined ? renderTable(table) : renderChange(previous, table));
        previous = table;
      }
      const whole = new TableModel();
      whole.run(renderTable(tables.at(-1) as GatewayTable));
      expect(sorted(changed)).toEqual(sorted(whole));
    }),
  );
});

test("writing a table whole replaces whatever stood there", () => {
  fc.assert(
    fc.property(step, step, ([first, firstGone], [second, secondGone]) => {
      const wanted = gatewayTable(devices, second, new Set<IpAddress>(secondGone));
      const over = new TableModel();
      over.run(renderTable(gatewayTable(devices, first, new Set<IpAddress>(firstGone))));
      over.run(renderTable(wanted));
      const fresh = new TableModel();
      fresh.run(renderTable(wanted));
      expect(sorted(over)).toEqual(sorted(fresh));
    }),
  );
});

test("the tables of addresses are what the state says, less what is gone", () => {
  fc.assert(
    fc.property(step, ([wanted, gone]) => {
      const model = new TableModel();
      model.run(renderTable(gatewayTable(devices, wanted, new Set<IpAddress>(gone))));
      const toPrivate = Object.fromEntries(wanted.mappings.map((mapping) => [mapping.address, mapping.private]));
      const accepts = wanted.accepts.filter((accept) => !(accept.retiring && gone.includes(accept.private)));
      const toPublic = Object.fromEntries(
        [...accepts, ...wanted.mappings].map((entry) => [entry.private, entry.address]),
      );
      expect(Object.fromEntries(model.elements.get("to_private") ?? [])).toEqual(toPrivate);
      expect(Object.fromEntries(model.elements.get("to_public") ?? [])).toEqual(toPublic);
    }),
  );
});

function sorted(model: TableModel) {
  return {
    chains: [...model.chains].sort(),
    elements: [...model.elements].map(([name, entries]) => [name, [...entries].sort()]).sort(),
  };
}
