/** Deletes the stream of flow events, as an operator would by mistake: `node … NATS_SERVER`. */
import { connect } from "nats";

const connection = await connect({ servers: [process.argv[2] ?? ""] });
const manager = await connection.jetstreamManager();
await manager.streams.delete("BATON_FLOWS");
await connection.close();
