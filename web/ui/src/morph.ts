// Makes an element what the server says it is, and leaves alone what a person did to it: what was opened, typed, chosen.

import { Idiomorph } from "idiomorph";

type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

function isField(node: Node): node is Field {
  return node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement || node instanceof HTMLSelectElement;
}

/** Somebody typed or chose here. */
export function isTouched(field: Field): boolean {
  if (field instanceof HTMLSelectElement) {
    return [...field.options].some((option) => option.selected !== option.defaultSelected);
  }
  if (field instanceof HTMLInputElement && field.type === "hidden") return false;
  if (field instanceof HTMLInputElement && ["checkbox", "radio"].includes(field.type)) {
    return field.checked !== field.defaultChecked;
  }
  return field.value !== field.defaultValue;
}

export function touchedIn(element: Element): boolean {
  return [...element.querySelectorAll<Field>("input, textarea, select")].some(isTouched);
}

/** Makes `old` like `fresh`: its content, and itself too where `whole`. */
export function morph(old: HTMLElement, fresh: HTMLElement, whole = false): void {
  if (old.isEqualNode(fresh)) return;
  Idiomorph.morph(old, whole ? fresh : fresh.innerHTML, {
    morphStyle: whole ? "outerHTML" : "innerHTML",
    ignoreActiveValue: true,
    callbacks: {
      beforeNodeMorphed: (node: Node) => !(isField(node) && isTouched(node)),
      // Nobody's words go away with what they were written for.
      beforeNodeRemoved: (node: Node) =>
        !(isField(node) && isTouched(node)) && !(node instanceof Element && touchedIn(node)),
      // What is open or busy is so by the reader's will.
      beforeAttributeUpdated: (name: string, element: Element) =>
        !(name === "open" && element instanceof HTMLDetailsElement) && name !== "aria-busy",
    },
  });
}
