/** Asks a server about itself by gRPC reflection, as grpcurl does. */
import { once } from "node:events";
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

interface Answer {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
}

type Stream = NodeJS.ReadWriteStream & { write(message: object): boolean };

interface Package {
  readonly grpc: {
    readonly reflection: {
      readonly v1: {
        readonly ServerReflection: new (
          endpoint: string,
          channel: ReturnType<typeof credentials.createInsecure>,
        ) => { ServerReflectionInfo(): Stream; close(): void };
      };
    };
  };
}

const proto = new URL(
  "../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto",
  import.meta.url,
);

/** Names of the services, and whether the symbol's file is described. */
export async function askReflection(
  endpoint: string,
  symbol: string,
): Promise<{ readonly names: readonly string[]; readonly describes: boolean }> {
  const loaded = loadPackageDefinition(loadSync(proto.pathname)) as unknown as Package;
  const client = new loaded.grpc.reflection.v1.ServerReflection(endpoint, credentials.createInsecure());
  const ask = async (request: object): Promise<Answer> => {
    const stream = client.ServerReflectionInfo();
    const answer = once(stream, "data");
    stream.write(request);
    const [message] = (await answer) as [Answer];
    stream.end();
    return message;
  };
  try {
    const listed = await ask({ listServices: "" });
    const described = await ask({ fileContainingSymbol: symbol });
    return {
      names: listed.listServicesResponse?.service.map(({ name }) => name) ?? [],
      describes: String(described.fileDescriptorResponse?.fileDescriptorProto[0] ?? "").includes(
        symbol.slice(symbol.lastIndexOf(".") + 1),
      ),
    };
  } finally {
    client.close();
  }
}
