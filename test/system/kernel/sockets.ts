/** Calls of an actor that opens, closes and resets real connections. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** How a connection ended: "closed", or the code of its error. */
export type Ending = string;

export function socketCalls() {
  const servers: Server[] = [];
  const accepted: Socket[] = [];
  const opened = new Map<number, Socket>();
  const endings = new Map<Socket, Ending>();

  const watch = (socket: Socket): Socket => {
    socket.resume();
    socket.on("error", (error: NodeJS.ErrnoException) => endings.set(socket, error.code ?? error.message));
    socket.on("close", () => endings.set(socket, endings.get(socket) ?? "closed"));
    return socket;
  };
  const client = (port: number): Socket => {
    const socket = opened.get(port);
    if (socket === undefined) throw new Error(`no connection from port ${port}`);
    return socket;
  };

  return {
    /** Half-open connections stay so until {@link endAccepted}. */
    listen: async (port: number, host: string, ipv6Only = false): Promise<void> => {
      const server = createServer({ allowHalfOpen: true }, (socket) => accepted.push(watch(socket)));
      servers.push(server);
      server.listen({ port, host, ipv6Only });
      await once(server, "listening");
    },
    connect: async (host: string, port: number): Promise<number> => {
      const socket = watch(connect({ host, port, allowHalfOpen: true }));
      await once(socket, "connect");
      const localPort = socket.localPort ?? 0;
      opened.set(localPort, socket);
      return localPort;
    },
    /** From a port of choice, for a handshake that does not come to its end. */
    startConnecting: (host: string, port: number, localPort: number): void => {
      opened.set(localPort, watch(connect({ host, port, localPort })));
    },
    end: (localPort: number): void => void client(localPort).end(),
    reset: (localPort: number): void => void client(localPort).resetAndDestroy(),
    endAccepted: (remotePort: number): void => {
      for (const socket of accepted) if (socket.remotePort === remotePort) socket.end();
    },
    ending: (localPort: number): Ending | undefined => endings.get(client(localPort)),
    /** One datagram to each of so many ports, from one socket. */
    sendDatagrams: async (host: string, firstPort: number, count: number): Promise<number> => {
      const socket = createSocket("udp4");
      socket.on("error", () => {});
      for (let i = 0; i < count; i++) {
        await new Promise<void>((resolve) => socket.send("x", firstPort + i, host, () => resolve()));
      }
      const { port } = socket.address();
      socket.close();
      return port;
    },
  };
}
