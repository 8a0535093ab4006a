/** Where a server listens: "host:port", "[v6]:port" or "unix:PATH". */

export type Endpoint =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly text: string }
  | { readonly kind: "unix"; readonly path: string; readonly text: string };

/** Bytes that the kernel has for a socket's path (sun_path without its final zero). */
const socketPathBytesMax = 107;
const tcpForm = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]/]+)):(\d{1,5})$/;

export function parseEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (path === "" || Buffer.byteLength(path) > socketPathBytesMax) return undefined;
    return { kind: "unix", path, text };
  }
  const match = tcpForm.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) return undefined;
  return { kind: "tcp", host, port, text };
}

export const endpointForms = `host:port or unix:PATH with a path of at most ${socketPathBytesMax} bytes`;
