/**
 * What the page takes from TensorBoard around its frame: the address, the theme and news of reloaded data.
 * Each access may fail (another origin, a page opened on its own), and the page then does without.
 */

export const PLUGIN_NAME = "loss_slicer";

/** TensorBoard's own window, or this one where the page stands alone. */
function hostWindow(): Window {
  try {
    // Reading the document throws where the parent belongs to another origin.
    void window.parent.document.body;
    return window.parent;
  } catch {
    return window;
  }
}

export function readHash(): string {
  try {
    return hostWindow().location.hash;
  } catch {
    return "";
  }
}

/** Replaces the address without a new entry in the history; false where that is not possible. */
export function replaceHash(hash: string): boolean {
  try {
    const host = hostWindow();
    const address = new URL(host.location.href);
    address.hash = hash;
    host.history.replaceState(host.history.state, "", address.toString());
    return true;
  } catch {
    return false;
  }
}

export function onHashChange(listener: () => void): () => void {
  const host = hostWindow();
  host.addEventListener("hashchange", listener);
  return () => host.removeEventListener("hashchange", listener);
}

const FORCED_COLORS = "(forced-colors: active)";

export function readDark(): boolean {
  try {
    // Where the reader's own colors replace the page's, the plots must suit those.
    if (!window.matchMedia(FORCED_COLORS).matches && window.parent !== window)
      return window.parent.document.body.classList.contains("dark-mode");
  } catch {
    // Another origin: the reader's own preference is the best that is known.
  }
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

export function onDarkChange(listener: () => void): () => void {
  const media = ["(prefers-color-scheme: dark)", FORCED_COLORS].map((query) => window.matchMedia(query));
  for (const entry of media) entry.addEventListener("change", listener);
  const observer = new MutationObserver(listener);
  try {
    if (window.parent !== window) {
      observer.observe(window.parent.document.body, { attributes: true, attributeFilter: ["class"] });
    }
  } catch {
    // As above.
  }
  return () => {
    for (const entry of media) entry.removeEventListener("change", listener);
    observer.disconnect();
  };
}

interface Message {
  readonly type: string;
  readonly id: number;
  readonly payload: unknown;
  readonly error: string | null;
  readonly isReply: boolean;
}

/** The channel to TensorBoard's page: what it tells of itself, and what it can be asked. */
class HostChannel {
  private readonly port: MessagePort;
  private readonly listeners = new Set<{ readonly type: string; readonly tell: () => void }>();
  private readonly waiting = new Map<number, (payload: unknown) => void>();
  private lastId = 0;

  constructor() {
    const channel = new MessageChannel();
    this.port = channel.port1;
    this.port.onmessage = (event: MessageEvent<string>) => this.receive(JSON.parse(event.data) as Message);
    window.parent.postMessage("experimental.bootstrap", "*", [channel.port2]);
  }

  listen(type: string, tell: () => void): () => void {
    const listener = { type, tell };
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  ask(type: string): Promise<unknown> {
    this.lastId += 1;
    const id = this.lastId;
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
      this.send({ type, id, payload: null, error: null, isReply: false });
    });
  }

  private receive(message: Message): void {
    if (message.isReply) {
      this.waiting.get(message.id)?.(message.payload);
      this.waiting.delete(message.id);
      return;
    }
    for (const { type, tell } of this.listeners) if (type === message.type) tell();
    this.send({ type: message.type, id: message.id, payload: null, error: null, isReply: true });
  }

  private send(message: Message): void {
    this.port.postMessage(JSON.stringify(message));
  }
}

let channel: HostChannel | null | undefined;

/** Null where the page stands alone. */
function hostChannel(): HostChannel | null {
  if (channel === undefined) {
    try {
      channel = window.parent === window ? null : new HostChannel();
    } catch {
      // Without the channel the page still asks again by itself every minute.
      channel = null;
    }
  }
  return channel;
}

/** Calls `listener` whenever TensorBoard has read the log again (its reload button, or its timer). */
export function onDataReloaded(listener: () => void): () => void {
  return hostChannel()?.listen("experimental.DataReloaded", listener) ?? (() => {});
}

/** The names of all runs, in the order that gives them their colours; empty where that is not known (yet). */
export async function fetchHostRuns(): Promise<readonly string[]> {
  const names = await hostChannel()?.ask("experimental.GetRuns");
  return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
}
