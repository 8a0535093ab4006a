/** An address that goes to and fro under load (SPEC D1, D2, R4); test/soak does it more often. */
import { describeToAndFro } from "./to-and-fro.ts";

describeToAndFro({ theme: "back", remaps: 20 });
