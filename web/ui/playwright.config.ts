// Drives the pages of a real server in the system's own Chromium: nothing is downloaded for it.

import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "tests",
  // All share one server, and two cores.
  workers: 1,
  forbidOnly: true,
  timeout: 30_000,
  // What breaks one mostly breaks all, each with its patience.
  maxFailures: 3,
  reporter: "list",
  use: {
    browserName: "chromium",
    launchOptions: {
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      // Without a sandbox of its own it runs as root too; it sees our own pages alone.
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
