// While somebody points into a list, has the focus there or types, nothing in it moves.

import { touchedIn } from "./morph";

const hovers = matchMedia("(hover: hover)");

export function isHeld(part: HTMLElement): boolean {
  return (hovers.matches && part.matches(":hover")) || part.contains(document.activeElement) || touchedIn(part);
}

/** Calls back when a pointer or the focus may have left. */
export function onRelease(then: () => void): void {
  const soon = () => setTimeout(then, 0);
  document.addEventListener("pointerout", ({ target, relatedTarget }) => {
    const part = target instanceof Element ? target.closest("[data-part]") : null;
    if (part !== null && !(relatedTarget instanceof Node && part.contains(relatedTarget))) soon();
  });
  document.addEventListener("focusout", soon);
}
