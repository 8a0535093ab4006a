/** A RemapService in this process whose answers a test gives; what it leaves out is UNIMPLEMENTED. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Remap, RemapServiceService } from "../../../src/gen/baton/v1/remap.ts";
import { type CallContext, type Reply, streamHandler, unaryHandler } from "../../../src/rpc/handler.ts";
import { type GrpcServer, type Service, serveGrpc } from "../../../src/rpc/server.ts";

type Unary = (request: unknown, context: CallContext) => Promise<Reply<Remap>>;

export interface FakeRemaps {
  readonly get?: Unary;
  readonly watch?: (request: { readonly id: string }, context: CallContext) => AsyncIterable<Remap>;
}

const unsupported = async (): Promise<Reply<never>> => ({
  ok: false,
  error: { code: "UNSUPPORTED", message: "not in this test" },
});

export function fakeRemapService(fake: FakeRemaps, bugs: unknown[] = []): Service {
  const unary = (answer: Unary = unsupported) => unaryHandler(answer, (error) => bugs.push(error));
  return [
    RemapServiceService,
    {
      createRemap: unary(),
      getRemap: unary(fake.get),
      listRemaps: unary(),
      watchRemap: streamHandler(fake.watch ?? noRemaps, (error) => bugs.push(error)),
      abortRemap: unary(),
      cutRemap: unary(),
      releaseRemap: unary(),
      setDeadline: unary(),
      previewRemap: unary(),
    },
  ];
}

async function* noRemaps(): AsyncGenerator<Remap> {}

export async function serveFake(endpoint: string, fake: FakeRemaps, bugs: unknown[] = []): Promise<GrpcServer> {
  const services = [fakeRemapService(fake, bugs)];
  return await serveGrpc({ endpoints: [endpoint], services, signal: new AbortController().signal });
}

/** A directory for sockets that goes with its test. */
export function socketDirectory(): Disposable & { endpoint(name: string): string } {
  const directory = mkdtempSync(join(tmpdir(), "baton-rpc-"));
  return {
    endpoint: (name) => `unix:${join(directory, name)}`,
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}
