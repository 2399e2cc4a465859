// A card that is settled stays where it is for a while, marked, so that nobody wonders where it went; words that were
// being typed into it stay with it.

import type { Moved } from "./feed";
import { isTouched, touchedIn } from "./morph";

const STAYS = 10_000;

class Settle {
  /** What was said lately of a session or an incident, and when: `answered by ben`. */
  private readonly said = new Map<string, { text: string; heard: number }>();
  private over = () => {};

  onOver(then: () => void): void {
    this.over = then;
  }

  heard(events: Moved[]): void {
    for (const { kind, label, at, session, incident } of events) {
      if (kind !== "request.decided") continue;
      const time = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      const said = { text: `${label} at ${time}`, heard: Date.now() };
      if (session !== undefined) this.said.set(`s:${session}`, said);
      if (incident !== undefined) this.said.set(`i:${incident.slice(2)}`, said);
    }
  }

  /** Marks the cards of `part` that are gone in `fresh`, and puts them back into it for as long as they stay. */
  keep(part: HTMLElement, fresh: HTMLElement): void {
    for (const card of part.querySelectorAll<HTMLElement>("article.card[id]")) {
      if (card.dataset["settled"] === undefined) {
        const same = fresh.querySelector<HTMLElement>(`article#${CSS.escape(card.id)}`);
        const { incident } = card.dataset;
        if (same !== null && (incident === undefined || same.dataset["incident"] === incident)) continue;
        this.mark(card);
      }
      if (Number(card.dataset["settled"]) > Date.now() || touchedIn(card)) {
        put(card.cloneNode(true) as HTMLElement, card, fresh);
      }
    }
  }

  private mark(card: HTMLElement): void {
    const known = this.said.get(card.dataset["live"] ?? "");
    const said = known !== undefined && Date.now() - known.heard < STAYS ? known.text : "settled";
    card.dataset["settled"] = String(Date.now() + STAYS);
    setTimeout(this.over, STAYS + 50);
    // What it was about may be a row of its own by now.
    card.id += "-settled";
    card.className = "card settled";
    const sign = card.querySelector("h3 svg.mark");
    sign?.setAttribute("class", "mark settled");
    sign?.querySelector("use")?.setAttribute("href", "#m-settled");
    const word = card.querySelector("h3 .unseen");
    if (word !== null) word.textContent = "Settled: ";
    for (const button of card.querySelectorAll<HTMLButtonElement>("button:not([type='button'])")) button.disabled = true;
    note(said, (element) => card.querySelector("header")?.after(element));
    for (const field of card.querySelectorAll<HTMLTextAreaElement>("textarea")) {
      if (isTouched(field)) note(said, (element) => field.closest("form")?.prepend(element));
    }
  }
}

function note(said: string, place: (element: HTMLElement) => void): void {
  const element = document.createElement("p");
  element.className = "note small";
  element.setAttribute("role", "status");
  element.textContent = said.charAt(0).toUpperCase() + said.slice(1);
  place(element);
}

/** Puts a card of the page into `fresh`, behind the same neighbour or at the head of the same zone. */
function put(copy: HTMLElement, card: HTMLElement, fresh: HTMLElement): void {
  const zone = card.closest<HTMLElement>("section.zone");
  if (zone === null) return;
  const name = zone.getAttribute("aria-labelledby") ?? "";
  let home = fresh.querySelector<HTMLElement>(`section.zone[aria-labelledby="${name}"]`);
  if (home === null) {
    home = zone.cloneNode(true) as HTMLElement;
    for (const other of home.querySelectorAll("article.card")) other.remove();
    const next = nextIn(zone, fresh);
    if (next === null) fresh.append(home);
    else next.before(home);
  }
  let before = card.previousElementSibling;
  while (before !== null && !(before.id && home.querySelector(`#${CSS.escape(before.id)}`))) {
    before = before.previousElementSibling;
  }
  const neighbour = before?.id ? home.querySelector(`#${CSS.escape(before.id)}`) : home.querySelector("h2");
  if (neighbour === null) home.prepend(copy);
  else neighbour.after(copy);
}

/** The first of what follows `zone` on the page that is in `fresh` too. */
function nextIn(zone: Element, fresh: HTMLElement): Element | null {
  for (let next = zone.nextElementSibling; next !== null; next = next.nextElementSibling) {
    const same = next.id
      ? fresh.querySelector(`#${CSS.escape(next.id)}`)
      : fresh.querySelector(`section.zone[aria-labelledby="${next.getAttribute("aria-labelledby")}"]`);
    if (same !== null) return same;
  }
  return fresh.querySelector("details.quiet");
}

export const settle = new Settle();
