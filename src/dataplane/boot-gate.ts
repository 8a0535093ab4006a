/**
 * The gate of a host that boots: the table that packaging/systemd/*-gate.nft loads before the network is up, and that
 * the first state takes away (invariant D14).
 */
export const gateTableName = "inet baton_gate";

/** Commands for a transaction; they remove the gate also where there is none. */
export const removeGate = `add table ${gateTableName}\ndelete table ${gateTableName}\n`;
