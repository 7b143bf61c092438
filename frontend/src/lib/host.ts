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

export function readDark(): boolean {
  try {
    if (window.parent !== window) return window.parent.document.body.classList.contains("dark-mode");
  } catch {
    // Another origin: the reader's own preference is the best that is known.
  }
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

export function onDarkChange(listener: () => void): () => void {
  const media = window.matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", listener);
  const observer = new MutationObserver(listener);
  try {
    if (window.parent !== window) {
      observer.observe(window.parent.document.body, { attributes: true, attributeFilter: ["class"] });
    }
  } catch {
    // As above.
  }
  return () => {
    media.removeEventListener("change", listener);
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

/** Calls `listener` whenever TensorBoard has read the log again (its reload button, or its timer). */
export function onDataReloaded(listener: () => void): () => void {
  if (window.parent === window) return () => {};
  const channel = new MessageChannel();
  channel.port1.onmessage = (event: MessageEvent<string>) => {
    const message = JSON.parse(event.data) as Message;
    if (message.isReply) return;
    if (message.type === "experimental.DataReloaded") listener();
    const reply: Message = { type: message.type, id: message.id, payload: null, error: null, isReply: true };
    channel.port1.postMessage(JSON.stringify(reply));
  };
  try {
    window.parent.postMessage("experimental.bootstrap", "*", [channel.port2]);
  } catch {
    // Without the channel the page still asks again by itself every minute.
  }
  return () => channel.port1.close();
}
