// A data directory, a repository and a real server of their own; all of it is gone when the tests are over.

import { test as base, type BrowserContext, type BrowserContextOptions } from "@playwright/test";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a scripted agent does is the first word of its prompt. */
const AGENT = `#!/bin/sh
ao="$AO_DATA_DIR/run/ao"
"$ao" report working
case "$1" in
ask*)
  answer=$("$ao" report question "$1: items only, or shipping too?" --option "Items only" --option "Items and shipping" --wait)
  printf '%s' "$answer" > "$AO_DATA_DIR/../answers/$AO_SESSION"
  "$ao" report ready
  ;;
*) "$ao" report ready ;;
esac
while read -r line; do "$ao" report working; "$ao" report ready; done
`;

/** The program under test; `scripts/web --test` names it. */
const AO = process.env["AO"] ?? "ao";

export class House {
  private readonly dir = mkdtempSync(join(tmpdir(), "ao-ui-"));

  readonly url: string;

  private constructor(readonly port: number) {
    this.url = `http://ao.localhost:${port}/`;
    for (const folder of ["home", "repo", "data", "answers"]) mkdirSync(this.path(folder), { mode: 0o700 });
    mkdirSync(this.path("home/.config/ao"), { recursive: true });
    writeFileSync(this.path("home/.config/ao/config.yaml"), `port: ${port}\n`);
    writeFileSync(this.path("agent.sh"), AGENT);
    chmodSync(this.path("agent.sh"), 0o755);
    writeFileSync(
      this.path("repo/agent-orchestrator.yaml"),
      `defaults: { notifiers: [] }
notifiers: {}
lifecycle: { sweepInterval: 200ms }
projects:
  my-app:
    path: .
    defaultBranch: main
    sessionPrefix: app
    agent: custom
    agentConfig: { command: ["${this.path("agent.sh")}", "{prompt}"] }
`,
    );
    const git = (...args: string[]) => execFileSync("git", args, { cwd: this.path("repo"), env: this.env() });
    git("init", "-q", "-b", "main");
    git("config", "user.email", "ana@example.com");
    git("config", "user.name", "ana");
    git("add", "-A");
    git("commit", "-qm", "first");
    this.ao("config", "trust", "--yes");
    this.ao("start");
  }

  static async make(): Promise<House> {
    return new House(await freePort());
  }

  private path(part: string): string {
    return join(this.dir, part);
  }

  private env(): NodeJS.ProcessEnv {
    const { PATH } = process.env;
    return { PATH, HOME: this.path("home"), LANG: "C.UTF-8", TZ: "UTC", AO_DATA_DIR: this.path("data") };
  }

  /** Runs `ao`; what it prints. */
  ao(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync(AO, args, { cwd: this.path("repo"), env: this.env(), encoding: "utf8" });
    if (status !== 0) throw new Error(`ao ${args.join(" ")}: ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  json<T>(...args: string[]): T {
    return JSON.parse(this.ao(...args, "--json")) as T;
  }

  /** Starts a session; its name. */
  spawn(prompt: string): string {
    const spawned = this.ao("spawn", "my-app", "--prompt", prompt);
    const name = /app-\d+/.exec(spawned)?.[0];
    if (name === undefined) throw new Error(`no session in: ${spawned}`);
    return name;
  }

  /** What the agent was answered, once it was. */
  answer(session: string): string | undefined {
    const file = this.path(`answers/${session}`);
    return existsSync(file) ? readFileSync(file, "utf8") : undefined;
  }

  /** Where a browser signs in, once. */
  ticket(): string {
    return this.ao("dashboard", "--print").trim();
  }

  /** The incident of a session that asks. */
  incident(session: string): string {
    return this.json<{ session: { incident: string } }>("session", "show", session).session.incident;
  }

  /** When the newest event of a kind happened, in milliseconds. */
  newest(kind: string): number {
    const { events } = this.json<{ events: { kind: string; at: string }[] }>("events", "-n", "20");
    return Date.parse(events.findLast((event) => event.kind === kind)?.at ?? "");
  }

  /** Lets all sessions end, so that nothing wants a human. */
  nobodyAsks(): void {
    const { sessions } = this.json<{ sessions: { id: string; over: string | null }[] }>("session", "ls");
    for (const { id, over } of sessions) if (over === null) this.ao("session", "done", id);
  }

  /** Ends the server as a power cut would; agents go on. */
  kill(): void {
    process.kill(Number(readFileSync(this.path("data/run/lock"), "utf8").trim()), "SIGKILL");
  }

  close(): void {
    spawnSync(AO, ["stop"], { cwd: this.path("repo"), env: this.env() });
    const tmux = this.path("data/run/tmux.sock");
    if (existsSync(tmux)) spawnSync("tmux", ["-S", tmux, "kill-server"]);
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Another browser that is signed in. */
type SignedIn = (options?: BrowserContextOptions) => Promise<BrowserContext>;

type Cookies = BrowserContextOptions["storageState"];

export const test = base.extend<{ signedIn: SignedIn }, { house: House; cookies: Cookies }>({
  house: [
    async ({}, use) => {
      const house = await House.make();
      await use(house);
      house.close();
    },
    { scope: "worker" },
  ],
  cookies: [
    async ({ house, browser }, use) => {
      const page = await browser.newPage();
      await page.goto(house.ticket());
      // The page presses its button by itself.
      await page.waitForURL(house.url);
      const cookies = await page.context().storageState();
      await page.context().close();
      await use(cookies);
    },
    { scope: "worker" },
  ],
  baseURL: async ({ house }, use) => use(house.url),
  storageState: async ({ cookies }, use) => use(cookies),
  signedIn: async ({ house, browser, cookies }, use) => {
    const contexts: BrowserContext[] = [];
    await use(async (options) => {
      const context = await browser.newContext({ baseURL: house.url, storageState: cookies, ...options });
      contexts.push(context);
      return context;
    });
    for (const context of contexts) await context.close();
  },
});

export { expect } from "@playwright/test";
