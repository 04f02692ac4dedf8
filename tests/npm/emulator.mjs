// Starts the GitHub emulator on a free port of loopback and prints `{"url": "..."}` on one line.
// The one argument is its seed: JSON with `tokens` and `github` {users, orgs, repos}.
// It ends when its standard input closes, and so never outlives the test that started it.
import { createEmulator } from "emulate";

const seed = JSON.parse(process.argv[2]);
const emulator = await createEmulator({ service: "github", port: 0, seed });
// It listens on 127.0.0.1 alone, and says `localhost`, which may mean ::1 first.
console.log(JSON.stringify({ url: emulator.url.replace("localhost", "127.0.0.1") }));
process.stdin.resume().on("end", () => process.exit(0));
