// Keeps the page as the server would render it now: asks for it again when something on it moved, and takes over what
// differs. The server alone writes pages, so what is seen never depends on how one came to see it.

import { announce } from "./announce";
import type { Moved } from "./feed";
import { settle } from "./settle";
import { isHeld, onRelease } from "./hold";
import { morph } from "./morph";
import { Pill } from "./pill";

/** Events that come together are looked at together; the server gathers them too. */
const TOGETHER = 10;
/** The same while nobody sees the page; its title does show. */
const UNSEEN = 2_000;
/** After a look it rests for so many times as long. */
const REST = 4;
/** Ages on the page are renewed at least this often. */
const RENEW = 60_000;

/** What the agents do in between shows on no list of sessions. */
const QUIET = /^(tool|turn|usage|progress|effect|runtime|sweep|delivery)\./;

const pill = new Pill(() => take(true));
/** The page as the server last rendered it, where not all of it is taken over yet. */
let newest: Document | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let looking = false;
let again = false;
let rested = 0;

/** The parts that move by themselves. */
function parts(): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>("[data-part][data-live]")];
}

/** Whether this page shows all sessions. */
export function showsAll(): boolean {
  return parts().some((part) => part.dataset["live"] === "*");
}

function concerns(part: HTMLElement, event: Moved): boolean {
  return (part.dataset["live"] ?? "").split(" ").some((topic) => {
    if (topic === "*") return !QUIET.test(event.kind);
    return topic === `s:${event.session}` || topic === `i:${event.incident?.slice(2)}` || topic === `p:${event.project}`;
  });
}

export function moved(events: Moved[]): void {
  settle.heard(events);
  if (parts().some((part) => events.some((event) => concerns(part, event)))) look();
}

/** Asks for the page again, soon. */
export function look(): void {
  if (parts().length === 0) return;
  if (looking) again = true;
  else timer ??= setTimeout(fetchPage, Math.max(document.hidden ? UNSEEN : TOGETHER, rested - performance.now()));
}

async function fetchPage(): Promise<void> {
  timer = undefined;
  looking = true;
  const began = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    // Somewhere else than asked: the sign-in.
    if (answer.status === 401 || answer.redirected) location.reload();
    else if (answer.ok) {
      newest = new DOMParser().parseFromString(await answer.text(), "text/html");
      take(false);
    }
  } catch {
    // Nobody answers: the page stays as it is, and the feed says so.
  }
  const now = performance.now();
  rested = now + (now - began) * REST;
  looking = false;
  if (again) {
    again = false;
    look();
  }
}

/** Takes over what the server rendered, as far as it disturbs nobody. */
function take(asked: boolean): void {
  if (newest === undefined) return;
  let waiting = 0;
  for (const part of document.querySelectorAll<HTMLElement>("[data-part]")) {
    const fresh = newest.querySelector<HTMLElement>(`[data-part="${part.dataset["part"]}"]`);
    if (fresh === null) continue;
    const copy = fresh.cloneNode(true) as HTMLElement;
    announce(part, copy);
    settle.keep(part, copy);
    if (asked || !isHeld(part)) morph(part, copy);
    else waiting += inPlace(part, copy);
  }
  document.title = newest.title;
  const { seq } = newest.documentElement.dataset;
  if (seq !== undefined) document.documentElement.dataset["seq"] = seq;
  pill.show(waiting);
}

/** Renews what stays where it is; how many cards are new or elsewhere. */
function inPlace(part: HTMLElement, fresh: HTMLElement): number {
  const here = cards(part);
  const there = cards(fresh);
  const order = [...here.keys()].filter((at) => there.has(at));
  const stay = [...there.keys()].filter((at) => here.has(at));
  const moves = stay.filter((at, n) => order[n] !== at).length;
  if (moves === 0 && stay.length === there.size && order.length === here.size) {
    morph(part, fresh);
    return 0;
  }
  for (const at of stay) morph(here.get(at)!, there.get(at)!, true);
  // What wants nobody may move below the cards, unless it is there that somebody points.
  for (const list of part.querySelectorAll<HTMLElement>("details[id]")) {
    const renewed = fresh.querySelector<HTMLElement>(`#${CSS.escape(list.id)}`);
    if (renewed !== null && !isHeld(list)) morph(list, renewed);
  }
  return there.size - stay.length + moves;
}

/** The cards, by their names and the lists that they are in. */
function cards(within: HTMLElement): Map<string, HTMLElement> {
  const all = within.querySelectorAll<HTMLElement>("article[id]");
  return new Map([...all].map((card) => [`${card.parentElement?.getAttribute("aria-labelledby")} ${card.id}`, card]));
}

export function start(): void {
  onRelease(() => take(false));
  settle.onOver(() => take(false));
  setInterval(() => {
    if (!document.hidden) look();
  }, RENEW);
}
