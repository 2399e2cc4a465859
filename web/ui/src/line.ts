// Says whether the page is live, and keeps anybody from acting while nobody would hear it.

import type { Line } from "./feed";

let now: Line = "live";
let bar: HTMLElement | undefined;

function time(): string {
  return new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

export function show(line: Line): void {
  now = line;
  document.documentElement.dataset["line"] = line;
  const state = document.querySelector<HTMLElement>("#state");
  if (state !== null) {
    if (line === "offline") state.textContent = `as of ${time()}`;
    else state.textContent = line === "live" ? "live" : "every 2 s";
  }
  if (line !== "offline") {
    bar?.remove();
    bar = undefined;
  } else if (bar === undefined) {
    bar = document.createElement("p");
    bar.className = "offline";
    bar.setAttribute("role", "status");
    bar.textContent = `No connection to ao since ${time()}; shown is ${time()}`;
    document.querySelector("#main")?.prepend(bar);
  }
}

/** While offline a button says so, and its words stay. */
export function start(): void {
  document.addEventListener("submit", (event) => {
    if (now !== "offline") return;
    event.preventDefault();
    bar?.append(bar.querySelector("strong") === null ? refusal() : "");
  });
}

function refusal(): HTMLElement {
  const words = document.createElement("strong");
  words.textContent = " Cannot act while offline.";
  return words;
}
