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
  const about = (card: HTMLElement) => card.dataset["incident"] ?? card.id;
  const known = new Set(red(part).map(about));
  for (const card of red(fresh)) {
    if (known.has(about(card)) || told.has(about(card))) continue;
    told.add(about(card));
    waiting.push(card.querySelector("h3")?.textContent?.trim() ?? "");
  }
  speak();
}

/** Cards that wait to be let in are new only once. */
const told = new Set<string>();
/** What is still to be said. */
const waiting: string[] = [];
let later: ReturnType<typeof setTimeout> | undefined;

function speak(): void {
  if (waiting.length === 0 || later !== undefined) return;
  const rest = spoken + PAUSE - Date.now();
  if (rest > 0) {
    later = setTimeout(() => {
      later = undefined;
      speak();
    }, rest);
    return;
  }
  spoken = Date.now();
  assertive.textContent = waiting.splice(0).join(". ");
}
