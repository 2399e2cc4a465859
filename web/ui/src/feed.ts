// What moves, from the server's stream of events. One tab of a browser has the stream and tells the others; where a
// proxy cuts or holds it, the same events are asked for every two seconds.

/** An event, in short: what moved and where. */
export interface Moved {
  seq: string;
  at: string;
  kind: string;
  session?: string;
  project?: string;
  incident?: string;
  label: string;
}

/** How the page hears of what moves. */
export type Line = "live" | "polling" | "offline";

export interface Listener {
  moved(events: Moved[]): void;
  /** Something may have been missed: look at everything anew. */
  anew(): void;
  line(now: Line): void;
  /** Who looks has to sign in again. */
  out(): void;
}

/** The stream says at least every 15 s that it lives. */
const SILENT = 20_000;
const POLL = 2_000;
/** A stream that ends sooner is cut by something on the way. */
const SHORT = 5_000;
/** How long is polled before the stream is tried again where it does not come through. */
const AGAIN = 60_000;
/** A server that restarts is away for less. */
const GRACE = 3_000;

type Said =
  | { events: Moved[] }
  | { anew: string }
  | { line: Line }
  | { out: true }
  | { hello: true }
  | { at: string; line: Line };

/** Events are numbered: `e4817`. */
function number(seq: string): number {
  return Number(seq.slice(1));
}

export function follow(root: string, seq: string, listener: Listener): void {
  let last = seq;
  let line: Line | undefined;
  let leads = false;
  const tabs = new BroadcastChannel(`ao ${new URL(root, location.href).pathname}`);

  const hear = (said: Said) => {
    if ("events" in said) {
      const news = said.events.filter((event) => number(event.seq) > number(last));
      const newest = news.at(-1);
      if (newest === undefined) return;
      last = newest.seq;
      listener.moved(news);
    } else if ("anew" in said) {
      last = said.anew;
      listener.anew();
    } else if ("out" in said) {
      listener.out();
    } else if ("at" in said) {
      // What moved while this page came was told before it listened.
      if (number(said.at) > number(last)) hear({ anew: said.at });
      hear({ line: said.line });
    } else if ("line" in said && said.line !== line) {
      line = said.line;
      listener.line(line);
    }
  };
  const tell = (said: Said) => {
    if ("line" in said && said.line === line) return;
    hear(said);
    tabs.postMessage(said);
  };
  tabs.onmessage = ({ data }: MessageEvent<Said>) => {
    if (!("hello" in data)) hear(data);
    else if (leads) tabs.postMessage({ at: last, line: line ?? "offline" } satisfies Said);
  };

  const lead = async () => {
    leads = true;
    await listen(root, () => last, tell);
  };
  if (navigator.locks === undefined) {
    // Plain http from another machine is no secure context: each tab has a stream of its own.
    tabs.close();
    void listen(root, () => last, hear);
  } else {
    tabs.postMessage({ hello: true } satisfies Said);
    void navigator.locks.request(tabs.name, lead);
  }
}

async function listen(root: string, last: () => string, tell: (said: Said) => void): Promise<never> {
  let short = 0;
  let since: number | undefined;
  const lost = () => {
    since ??= Date.now();
    if (Date.now() - since >= GRACE) tell({ line: "offline" });
  };
  for (;;) {
    const began = Date.now();
    const how = await stream(root, last(), tell);
    short = how === "silent" ? 2 : Date.now() - began < SHORT ? short + 1 : 0;
    // Twice in a row is no accident.
    const until = short >= 2 ? Date.now() + AGAIN : 0;
    for (let polled = false; !polled || Date.now() < until; ) {
      const heard = await poll(root, last(), tell);
      polled ||= heard;
      if (heard) since = undefined;
      else lost();
      if (heard && until > 0) tell({ line: "polling" });
      if (!heard || until > 0) await pause(heard ? POLL : Math.min(POLL, 1_000));
    }
  }
}

/** Follows the stream to its end. */
async function stream(root: string, after: string, tell: (said: Said) => void): Promise<"over" | "silent"> {
  const stop = new AbortController();
  let watch: ReturnType<typeof setTimeout> | undefined;
  let silent = false;
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(() => {
      silent = true;
      stop.abort();
    }, SILENT);
  };
  // A network that comes back is a new one.
  addEventListener("offline", () => stop.abort(), { signal: stop.signal });
  alive();
  try {
    const answer = await fetch(`${root}api/events?brief=1&after=${after}`, {
      headers: { accept: "text/event-stream" },
      signal: stop.signal,
    });
    if (answer.status === 401) tell({ out: true });
    if (!answer.ok || answer.body === null) return "over";
    const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let piece = await pieces.read(); !piece.done; piece = await pieces.read()) {
      alive();
      tell({ line: "live" });
      text += piece.value;
      const messages = text.split("\n\n");
      text = messages.pop() ?? "";
      hand(messages, tell);
    }
    return "over";
  } catch {
    return silent ? "silent" : "over";
  } finally {
    clearTimeout(watch);
    stop.abort();
  }
}

/** Hands on what came in one piece at once, as far as no new beginning lies between. */
function hand(messages: string[], tell: (said: Said) => void): void {
  let events: Moved[] = [];
  for (const message of messages) {
    const field = (name: string) => message.match(new RegExp(`^${name}: (.*)$`, "m"))?.[1];
    const data = field("data") ?? "";
    const kind = field("event");
    if (kind === undefined) events.push(JSON.parse(data) as Moved);
    if (kind === "resync") {
      events = [];
      tell({ anew: data });
    }
  }
  if (events.length > 0) tell({ events });
}

/** Asks for what came since; false where nobody answers. */
async function poll(root: string, after: string, tell: (said: Said) => void): Promise<boolean> {
  try {
    const answer = await fetch(`${root}api/events?brief=1&after=${after}`, { signal: AbortSignal.timeout(10_000) });
    if (answer.status === 401) tell({ out: true });
    if (!answer.ok) return false;
    const page = (await answer.json()) as { events: Moved[]; last: string; missed: boolean };
    if (page.missed) tell({ anew: page.last });
    else if (page.events.length > 0) tell({ events: page.events });
    return true;
  } catch {
    return false;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((go) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      go();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
  });
}
