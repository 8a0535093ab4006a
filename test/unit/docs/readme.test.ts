import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { agentConfigSchema } from "../../../services/agent/config.ts";
import { coordinatorConfigSchema } from "../../../services/coordinator/config.ts";
import { gatewayConfigSchema } from "../../../services/gateway/config.ts";
import { trackerConfigSchema } from "../../../services/tracker/config.ts";
import { parseConfig } from "../../../src/runtime/config.ts";

const readme = readFileSync(new URL("../../../README.md", import.meta.url), "utf8");
const schemas = {
  agent: agentConfigSchema,
  coordinator: coordinatorConfigSchema,
  gateway: gatewayConfigSchema,
  tracker: trackerConfigSchema,
};

function example(service: string): string | undefined {
  const block = new RegExp(`^( *)\`\`\`yaml ${service}\\n([\\s\\S]*?)^ *\`\`\``, "m").exec(readme);
  const [, indent = "", text] = block ?? [];
  return text?.replaceAll(new RegExp(`^${indent}`, "gm"), "");
}

describe("the README", () => {
  test.each(Object.keys(schemas) as (keyof typeof schemas)[])(
    "shows a configuration of the %s that it takes",
    (service) => {
      const text = example(service);
      if (text === undefined) throw new Error(`the README has no example for ${service}`);
      const config = parseConfig<unknown>(schemas[service], { file: "README.md", text, env: {} });
      expect(config).toMatchObject({ ok: true });
    },
  );

  test.each(["npm run demo", "npm test", "npm run bench -- follow", "npm run lab -- up"])(
    "names %s, which package.json has",
    (command) => {
      const manifest = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
      expect(readme).toContain(command);
      const script = command === "npm test" ? "test" : command.split(" ")[2];
      expect(Object.keys(manifest.scripts)).toContain(script);
    },
  );
});
