import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { describe, expect, it } from "vitest";
import { RemapServiceClient } from "../../../src/gen/baton/v1/remap.ts";
import { HealthClient } from "../../../src/gen/grpc/health/v1/health.ts";
import { dial, serverStream, unary } from "../../../src/rpc/client.ts";
import { fromServiceError, silence, toServiceError } from "../../../src/rpc/errors.ts";
import { Refusal } from "../../../src/rpc/handler.ts";
import { checkHealth } from "../../../src/rpc/health-client.ts";
import { remapToProto } from "../../../src/rpc/remap-codec.ts";
import { serveGrpc } from "../../../src/rpc/server.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { fakeRemapService, serveFake, socketDirectory } from "./fake-remaps.ts";
import { freshRemap } from "./remap-samples.ts";

const signal = new AbortController().signal;
const bounds = { signal, deadlineMs: 5_000 };
const remap = remapToProto(freshRemap);

describe("a server's endpoints", () => {
  it("are TCP ports and unix sockets, of which nothing is left behind", async () => {
    using directory = socketDirectory();
    const socket = directory.endpoint("c.sock");
    const path = socket.slice("unix:".length);
    {
      const services = [fakeRemapService({ get: async () => ({ ok: true, value: remap }) })];
      await using server = await serveGrpc({ endpoints: ["127.0.0.1:0", socket], services, signal });
      expect(server.endpoints[0]).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
      expect(statSync(path).mode & 0o777).toBe(0o660);
      for (const endpoint of server.endpoints) {
        using client = closing(dial(RemapServiceClient, endpoint));
        expect((await unary(client.value, "getRemap", { id: "r1" }, bounds)).id).toBe("r1");
      }
    }
    expect(existsSync(path)).toBe(false);
  });

  it("may be the socket file of a process that was killed", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    const path = endpoint.slice("unix:".length);
    const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    await once(spawn(process.execPath, ["-e", script]), "exit");
    expect(existsSync(path)).toBe(true);
    await using _server = await serveFake(endpoint, {});
    expect(await checkHealth(endpoint, bounds)).toEqual({ ok: true, serving: true });
  });

  it("are refused where a living process listens, or where something else lies", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    await using _first = await serveFake(endpoint, {});
    await expect(serveFake(endpoint, {})).rejects.toThrow("another process listens here");
    const file = directory.endpoint("file");
    writeFileSync(file.slice("unix:".length), "precious");
    await expect(serveFake(file, {})).rejects.toThrow("not a socket");
    expect(await checkHealth(endpoint, bounds)).toEqual({ ok: true, serving: true });
  });

  it("end when the signal does", async () => {
    using directory = socketDirectory();
    const controller = new AbortController();
    const endpoint = directory.endpoint("c.sock");
    await serveGrpc({ endpoints: [endpoint], services: [], signal: controller.signal });
    controller.abort();
    await waitFor(async () => !(await checkHealth(endpoint, bounds)).ok, { signal, timeoutMs: 5_000, what: "the end" });
  });
});

describe("a handler", () => {
  it("refuses by value, and a bug is INTERNAL without a word of it", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    const bugs: unknown[] = [];
    let refuse = true;
    await using _server = await serveFake(
      endpoint,
      {
        get: async () => {
          if (!refuse) throw new Error("secret detail");
          return { ok: false, error: { code: "UNKNOWN_REMAP", message: "no remap r9" } };
        },
      },
      bugs,
    );
    using client = closing(dial(RemapServiceClient, endpoint));
    const refused = await unary(client.value, "getRemap", { id: "r9" }, bounds).catch(fromServiceError);
    expect(refused).toMatchObject({ code: "UNKNOWN_REMAP", message: "no remap r9", grpcCode: 5 });
    refuse = false;
    const failed = await unary(client.value, "getRemap", { id: "r9" }, bounds).catch(fromServiceError);
    expect(failed).toMatchObject({ code: "INTERNAL", message: expect.not.stringContaining("secret") });
    expect(bugs).toEqual([new Error("secret detail")]);
  });

  it("passes on what another server has refused, or has not answered", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    const bugs: unknown[] = [];
    const failures = [toServiceError({ code: "TRACKER_BEHIND", message: "shard 3 is behind" }), silence(2_000)];
    const get = async () => {
      throw failures.shift();
    };
    await using _server = await serveFake(endpoint, { get }, bugs);
    using client = closing(dial(RemapServiceClient, endpoint));
    const ask = () => unary(client.value, "getRemap", { id: "r9" }, bounds).catch(fromServiceError);
    expect(await ask()).toMatchObject({ code: "TRACKER_BEHIND", message: "shard 3 is behind", stated: true });
    expect(await ask()).toMatchObject({ code: "NODE_TIMEOUT", message: "no answer within 2000 ms" });
    expect(bugs).toEqual([]);
  });

  it("of a stream sends until it ends or refuses", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    await using _server = await serveFake(endpoint, {
      async *watch({ id }) {
        yield remap;
        if (id === "gone") throw new Refusal({ code: "NOT_LEADER", message: "ask c2", details: { leader: "c2:1" } });
      },
    });
    using client = closing(dial(RemapServiceClient, endpoint));
    const seen: string[] = [];
    for await (const message of serverStream(client.value, "watchRemap", { id: "r1" }, { signal }))
      seen.push(message.id);
    expect(seen).toEqual(["r1"]);
    const messages = serverStream(client.value, "watchRemap", { id: "gone" }, { signal });
    await messages.next();
    const refusal = await messages.next().catch(fromServiceError);
    expect(refusal).toMatchObject({ code: "NOT_LEADER", details: { leader: "c2:1" } });
  });

  it("of a stream is told when its caller leaves", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    let ended = false;
    await using _server = await serveFake(endpoint, {
      async *watch(_request, context) {
        yield remap;
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        ended = true;
      },
    });
    using client = closing(dial(RemapServiceClient, endpoint));
    for await (const _message of serverStream(client.value, "watchRemap", { id: "r1" }, { signal })) break;
    await waitFor(() => ended, { signal, timeoutMs: 5_000, what: "the handler to be told" });
  });

  it("does not run ahead of a reader that is slow", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    const large = { ...remap, requestedBy: "x".repeat(100_000) };
    let produced = 0;
    await using _server = await serveFake(endpoint, {
      async *watch() {
        for (; produced < 1_000; produced++) yield large;
      },
    });
    using client = closing(dial(RemapServiceClient, endpoint));
    const messages = serverStream(client.value, "watchRemap", { id: "r1" }, { signal });
    await messages.next();
    let last = -1;
    const standsStill = () => {
      const still = produced === last;
      last = produced;
      return still;
    };
    await waitFor(standsStill, { signal, timeoutMs: 5_000, what: "the handler to wait", intervalMs: 200 });
    expect(produced).toBeLessThan(500);
    await messages.return();
  });
});

describe("a call", () => {
  it("ends with the abort reason", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    await using _server = await serveFake(endpoint, { get: () => new Promise(() => {}) });
    using client = closing(dial(RemapServiceClient, endpoint));
    const controller = new AbortController();
    const call = unary(client.value, "getRemap", { id: "r1" }, { signal: controller.signal, deadlineMs: 60_000 });
    setImmediate(() => controller.abort("enough"));
    await expect(call).rejects.toBe("enough");
  });

  it("ends at its deadline", async () => {
    using directory = socketDirectory();
    const endpoint = directory.endpoint("c.sock");
    await using _server = await serveFake(endpoint, { get: () => new Promise(() => {}) });
    using client = closing(dial(RemapServiceClient, endpoint));
    const failed = await unary(client.value, "getRemap", { id: "r1" }, { signal, deadlineMs: 50 }).catch(
      fromServiceError,
    );
    expect(failed).toMatchObject({ grpcCode: 4, stated: false });
  });
});

describe("health", () => {
  it("follows what the server says of itself, for its own services only", async () => {
    let ready = false;
    const services = [fakeRemapService({})];
    await using server = await serveGrpc({ endpoints: ["127.0.0.1:0"], services, signal, ready: () => ready });
    const [endpoint = ""] = server.endpoints;
    using client = closing(dial(HealthClient, endpoint));
    const check = (service: string) => unary(client.value, "check", { service }, bounds).catch(fromServiceError);
    expect(await check("")).toEqual({ status: 2 });
    expect(await check("baton.v1.RemapService")).toEqual({ status: 2 });
    ready = true;
    expect(await check("baton.v1.RemapService")).toEqual({ status: 1 });
    expect(await check("baton.v1.Nonsense")).toMatchObject({ grpcCode: 5 });
  });

  it("tells a watcher of every change", async () => {
    let ready = true;
    await using server = await serveGrpc({ endpoints: ["127.0.0.1:0"], services: [], signal, ready: () => ready });
    using client = closing(dial(HealthClient, server.endpoints[0] ?? ""));
    const seen = serverStream(client.value, "watch", { service: "" }, { signal });
    expect((await seen.next()).value).toEqual({ status: 1 });
    ready = false;
    expect((await seen.next()).value).toEqual({ status: 2 });
    await seen.return();
  });
});

describe("reflection", () => {
  it("lists the services, and describes their messages", async () => {
    await using server = await serveGrpc({ endpoints: ["127.0.0.1:0"], services: [fakeRemapService({})], signal });
    const proto = new URL(
      "../../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto",
      import.meta.url,
    );
    const loaded = loadPackageDefinition(loadSync(proto.pathname)) as unknown as ReflectionPackage;
    const client = new loaded.grpc.reflection.v1.ServerReflection(
      server.endpoints[0] ?? "",
      credentials.createInsecure(),
    );
    try {
      const ask = async (request: object): Promise<ReflectionAnswer> => {
        const stream = client.ServerReflectionInfo();
        const answer = once(stream, "data");
        stream.write(request);
        const [message] = (await answer) as [ReflectionAnswer];
        stream.end();
        return message;
      };
      const listed = await ask({ listServices: "" });
      expect(listed.listServicesResponse?.service.map(({ name }) => name)).toEqual(
        expect.arrayContaining(["baton.v1.RemapService", "baton.v1.NodeService", "grpc.health.v1.Health"]),
      );
      const described = await ask({ fileContainingSymbol: "baton.v1.Remap" });
      expect(String(described.fileDescriptorResponse?.fileDescriptorProto[0])).toContain("waiting_for");
    } finally {
      client.close();
    }
  });
});

interface ReflectionAnswer {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
}

interface ReflectionPackage {
  readonly grpc: {
    readonly reflection: {
      readonly v1: {
        readonly ServerReflection: new (
          endpoint: string,
          channel: ReturnType<typeof credentials.createInsecure>,
        ) => { ServerReflectionInfo(): NodeJS.ReadWriteStream & { write(message: object): boolean }; close(): void };
      };
    };
  };
}

function closing<T extends { close(): void }>(value: T): Disposable & { readonly value: T } {
  return { value, [Symbol.dispose]: () => value.close() };
}
