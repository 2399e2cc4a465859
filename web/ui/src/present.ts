// Somebody looks at all sessions: what he sees here, the desktop need not tell him too.

/** The server takes it to be so for 30 s. */
const EACH = 15_000;

export function start(root: string): void {
  const say = () => {
    if (document.hidden) return;
    // Whether it is heard or not, it is said again soon.
    fetch(`${root}api/present`, { method: "POST", keepalive: true }).catch(() => {});
  };
  say();
  setInterval(say, EACH);
  document.addEventListener("visibilitychange", say);
}
