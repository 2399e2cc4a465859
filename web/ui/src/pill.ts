// "2 new": what waits until the reader lets it in.

export class Pill {
  private readonly button = document.createElement("button");

  constructor(press: () => void) {
    this.button.type = "button";
    this.button.className = "b primary pill";
    this.button.hidden = true;
    this.button.addEventListener("click", press);
    document.addEventListener("keydown", (event) => {
      const typing = event.target instanceof Element && event.target.closest("input, textarea, select") !== null;
      if (event.key !== "." || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (!this.button.hidden) press();
    });
  }

  show(count: number): void {
    if (!this.button.isConnected) document.querySelector("#main")?.append(this.button);
    this.button.hidden = count === 0;
    this.button.textContent = `${count} new`;
  }
}
