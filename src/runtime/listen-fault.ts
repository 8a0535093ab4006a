/** What is wrong with an address to listen at, in words for operators. */

const causes: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process listens there: stop it, or choose another port",
  EACCES: "this user may not listen there: choose a port above 1023",
  EADDRNOTAVAIL: "this host does not have the address: choose one of its own, or 0.0.0.0",
};

/** @param what the setting: "admin.listen" */
export function listenFault(what: string, address: string, error: Error): string {
  const code = "code" in error ? String(error.code) : /\bE[A-Z]+\b/.exec(error.message)?.[0];
  const cause = code === undefined ? undefined : causes[code];
  return cause === undefined
    ? `${what} ${address}: can't listen there: ${error.message}`
    : `${what} ${address}: ${cause} (${code})`;
}
