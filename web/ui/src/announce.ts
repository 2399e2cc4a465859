// Tells a screen reader what changed: how much is wanted politely, a new red card at once, but not more than one in ten
// seconds.

const PAUSE = 10_000;

function region(how: "polite" | "assertive"): HTMLElement {
  const element = document.createElement("div");
  element.className = "unseen";
  element.setAttribute("aria-live", how);
  document.body.append(element);
  return element;
}

const polite = region("polite");
const assertive = region("assertive");
let spoken = 0;

/** Before `part` becomes `fresh`. */
export function announce(part: HTMLElement, fresh: HTMLElement): void {
  if (part.dataset["part"] === "counts") {
    const said = fresh.textContent?.trim() ?? "";
    if (said !== part.textContent?.trim()) polite.textContent = said;
  }
  const red = (within: HTMLElement) => [...within.querySelectorAll<HTMLElement>("article.card.need[id]")];
  const known = new Set(red(part).map((card) => card.id));
  const card = red(fresh).find((card) => !known.has(card.id));
  if (card === undefined || told.has(card.id)) return;
  told.add(card.id);
  if (Date.now() - spoken < PAUSE) return;
  spoken = Date.now();
  assertive.textContent = card.querySelector("h3")?.textContent?.trim() ?? "";
}

/** Cards that wait to be let in are new only once. */
const told = new Set<string>();
