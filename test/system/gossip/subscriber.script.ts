/**
 * Somebody who listens to changes of the cluster and knows NATS alone: `node … SERVER` prints each message of
 * `baton.cluster.*`, from the first that the stream holds, as one line.
 */
import { connect, consumerOpts } from "nats";

const [server = ""] = process.argv.slice(2);
const connection = await connect({ servers: server, maxReconnectAttempts: -1 });
const subscription = await connection
  .jetstream()
  .subscribe("baton.cluster.*", consumerOpts().orderedConsumer().deliverAll().bindStream("BATON_CLUSTER"));
for await (const message of subscription) console.log(`${message.subject} ${message.string()}`);
