// Starts the GitHub emulator on a free port of loopback and prints `{"url": "..."}` on one line.
// Its seed is the first line of standard input: JSON with `tokens` and `github` {users, orgs,
// repos}. It ends when that input closes, and so never outlives the test that started it.
import { createInterface } from "node:readline";
import { createEmulator } from "emulate";

const lines = createInterface({ input: process.stdin });
lines.once("line", async (line) => {
  const seed = JSON.parse(line);
  const emulator = await createEmulator({ service: "github", port: 0, seed });
  // It listens on 127.0.0.1 alone, and says `localhost`, which may mean ::1 first.
  console.log(JSON.stringify({ url: emulator.url.replace("localhost", "127.0.0.1") }));
});
lines.once("close", () => process.exit(0));
