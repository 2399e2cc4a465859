// Pages that move by themselves, and what they leave alone while they do.

import type { Locator, Page } from "@playwright/test";
import { expect, test, type House } from "./house";

/** How often it is measured how soon an event is seen; many more for a figure to keep. */
const ROUNDS = Number(process.env["AO_ROUNDS"] ?? 5);

/** Whatever happens to the page, it is never loaded again. */
async function stays(page: Page): Promise<() => Promise<void>> {
  await page.evaluate(() => ((globalThis as { mark?: string }).mark = "same"));
  return async () => expect(await page.evaluate(() => (globalThis as { mark?: string }).mark)).toBe("same");
}

async function open(page: Page, path = ""): Promise<void> {
  await page.goto(path);
  await expect(page.locator("html")).toHaveAttribute("data-line", "live");
}

function card(page: Page, session: string): Locator {
  return page.locator(`article#${session}`);
}

/** Asks for a human, and waits until the page shows it. */
async function asks(house: House, page: Page, prompt: string): Promise<string> {
  const session = house.spawn(`ask ${prompt}`);
  await expect(card(page, session)).toContainText(`ask ${prompt}: items only`);
  return session;
}

test.beforeEach(async ({ house }) => house.nobodyAsks());

test("live_update: what needs somebody appears, and stays a while when it is settled", async ({ house, page }) => {
  await page.clock.install();
  await open(page);
  const same = await stays(page);
  await expect(page.getByText("Nothing needs you", { exact: false }).or(page.getByText("No sessions"))).toBeVisible();
  const session = await asks(house, page, "live");
  await expect(page).toHaveTitle(/^\(1\) Attention/);
  house.ao("answer", session, "1");
  const settled = page.locator(`article#${session}-settled`);
  await expect(settled).toContainText(/Answered by .* at/);
  await expect(page).toHaveTitle(/^Attention/);
  await expect.poll(() => house.answer(session)).toBe("Items only");
  await page.clock.fastForward(10_100);
  await expect(settled).toHaveCount(0);
  await same();
});

test("two_browsers: what one does the other sees", async ({ house, page, signedIn }) => {
  const other = await (await signedIn()).newPage();
  await open(page);
  await open(other);
  const session = await asks(house, page, "both");
  await expect(card(other, session)).toBeVisible();
  await card(other, session).getByRole("button", { name: "Items and shipping" }).click();
  await expect(page.locator(`article#${session}-settled`)).toBeVisible();
  await expect.poll(() => house.answer(session)).toBe("Items and shipping");
});

test("a session's own page moves too, and what wants somebody is answered there", async ({ house, page }) => {
  const session = house.spawn("wait");
  await open(page, `s/${session}`);
  const same = await stays(page);
  const asking = house.spawn("ask elsewhere");
  await expect.poll(() => house.ao("status")).toContain("ask elsewhere: items");
  house.ao("session", "done", session);
  await expect(page.locator("main")).toContainText(/done|finished/i);
  await same();
  await open(page, `i/${house.incident(asking).slice(2)}`);
  await page.getByRole("button", { name: "Items only" }).click();
  await expect.poll(() => house.answer(asking)).toBe("Items only");
});

test("tabs of one browser share one stream", async ({ house, page, context }) => {
  const streams: string[] = [];
  context.on("request", (request) => {
    if (request.headers()["accept"] === "text/event-stream") streams.push(request.url());
  });
  await open(page);
  const second = await context.newPage();
  await open(second);
  const session = await asks(house, page, "tabs");
  await expect(card(second, session)).toBeVisible();
  expect(streams).toHaveLength(1);
  // The one that had it goes: another takes over, and misses nothing.
  await page.close();
  const next = house.spawn("ask after");
  await expect(card(second, next)).toBeVisible();
  expect(streams).toHaveLength(2);
});

test("server_restart_while_open: nothing but live coming back", async ({ house, page }) => {
  await open(page);
  const same = await stays(page);
  house.kill();
  house.ao("start");
  await asks(house, page, "restart");
  await expect(page.locator("html")).toHaveAttribute("data-line", "live");
  await expect(page.locator(".offline")).toHaveCount(0);
  await same();
});

test("offline_and_back: the page says so, keeps what was typed, and catches up", async ({ house, page, context }) => {
  await page.clock.install();
  await open(page);
  const same = await stays(page);
  const session = await asks(house, page, "offline");
  await card(page, session).getByRole("button", { name: /Answer/ }).click();
  const words = page.locator("textarea:visible");
  await words.fill("only books");
  await context.setOffline(true);
  await expect(async () => {
    await page.clock.fastForward(1_000);
    await expect(page.locator(".offline")).toContainText("No connection to ao since", { timeout: 50 });
  }).toPass();
  await page.locator(":popover-open button.primary").click();
  await expect(page.locator(".offline")).toContainText("Cannot act while offline");
  const missed = house.spawn("ask while away");
  await context.setOffline(false);
  await expect(page.locator("html")).toHaveAttribute("data-line", "live");
  await expect(page.locator(".offline")).toHaveCount(0);
  await expect(words).toHaveValue("only books");
  // The list is held while somebody types in it.
  await expect(page.getByRole("button", { name: "1 new" })).toBeAttached();
  await expect(card(page, missed)).toHaveCount(0);
  await same();
});

test("a draft stays when somebody else was quicker, and cannot be sent", async ({ house, page }) => {
  await open(page);
  const session = await asks(house, page, "draft");
  await card(page, session).getByRole("button", { name: /Answer/ }).click();
  const words = page.locator("textarea:visible");
  await words.fill("only books");
  house.ao("answer", session, "2");
  await expect(page.locator(":popover-open .note")).toContainText(/Answered by .* at/);
  await expect(words).toHaveValue("only books");
  await expect(page.locator(":popover-open button.primary")).toBeDisabled();
});

test("resync_reloads_the_part: who missed something looks anew", async ({ house, page }) => {
  // A stream that says nothing but that something was missed.
  let go = () => {};
  const spawned = new Promise<void>((resolve) => (go = resolve));
  await page.route(/api\/events/, async (route) => {
    if (route.request().headers()["accept"] !== "text/event-stream") return route.abort();
    await spawned;
    await route.fulfill({ contentType: "text/event-stream", body: "event: resync\nid: e999999\ndata: e999999\n\n" });
  });
  await page.goto("");
  const session = house.spawn("ask anew");
  await expect.poll(() => house.ao("status")).toContain("ask anew: items");
  await expect(card(page, session)).toHaveCount(0);
  go();
  await expect(card(page, session)).toContainText("ask anew: items only");
});

test("reorder_waits_under_the_pointer: a pill lets it in", async ({ house, page }) => {
  await open(page);
  const first = await asks(house, page, "first");
  await card(page, first).hover();
  const before = await card(page, first).boundingBox();
  const second = house.spawn("ask second");
  const pill = page.getByRole("button", { name: "1 new" });
  await expect(pill).toBeVisible();
  await expect(card(page, second)).toHaveCount(0);
  expect(await card(page, first).boundingBox()).toEqual(before);
  await page.keyboard.press(".");
  await expect(card(page, second)).toBeVisible();
  await expect(pill).toBeHidden();
  // And what waits comes by itself once the pointer is gone.
  await card(page, first).hover();
  const third = house.spawn("ask third");
  await expect(pill).toBeVisible();
  await page.mouse.move(0, 0);
  await expect(card(page, third)).toBeVisible();
});

test("where a proxy cuts the stream the page polls the same feed", async ({ house, page }) => {
  await page.route(/api\/events/, (route) =>
    route.request().headers()["accept"] === "text/event-stream" ? route.fulfill({ status: 502 }) : route.fallback(),
  );
  await page.goto("");
  await expect(page.locator("html")).toHaveAttribute("data-line", "polling");
  await asks(house, page, "polled");
});

test("without scripts the page reads the same", async ({ house, signedIn }) => {
  const plain = await (await signedIn({ javaScriptEnabled: false })).newPage();
  const session = house.spawn("ask plainly");
  await expect(async () => {
    await plain.goto("");
    await expect(card(plain, session)).toContainText("ask plainly: items only", { timeout: 100 });
  }).toPass();
});

test("an event is seen soon after it happened", async ({ house, page }) => {
  await open(page);
  const session = await asks(house, page, "soon");
  await page.evaluate((id) => {
    const seen: number[] = ((globalThis as { seen?: number[] }).seen = []);
    const watched = document.querySelector(`article#${id}`)!;
    new MutationObserver(() => requestAnimationFrame(() => seen.push(Date.now()))).observe(watched, {
      childList: true,
      subtree: true,
      characterData: true,
    });
  }, session);
  const incident = house.incident(session);
  const late: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    house.ao("snooze", incident, "--for", `${60 + round}m`);
    await expect.poll(() => page.evaluate(() => (globalThis as { seen?: number[] }).seen!.length)).toBeGreaterThan(0);
    const seen = await page.evaluate(() => (globalThis as { seen?: number[] }).seen!.splice(0)[0]!);
    late.push(seen - house.newest("incident.snoozed"));
  }
  late.sort((a, b) => a - b);
  const at = (part: number) => late[Math.ceil(late.length * part) - 1];
  console.log(`event journalled → visible, ${ROUNDS} rounds: p50 ${at(0.5)}, p95 ${at(0.95)}, most ${at(1)} ms`);
});
