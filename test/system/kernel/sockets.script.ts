/** An actor that opens and closes connections, and nothing else. */
import { serveCalls } from "./actor.ts";
import { socketCalls } from "./sockets.ts";

export type SocketsActor = ReturnType<typeof socketCalls>;

serveCalls(socketCalls());
