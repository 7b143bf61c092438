/** Where an array is decoded: here while that takes a blink, else in a worker, so that the page goes on. */
import { DecodeError, decodeArray, type Encoding } from "@/maths/decode";
import type { DecodeReply, DecodeRequest } from "@/maths/decode.worker";
import { startDecodeWorker } from "./workers";

/** Values above which handing an array over and back is worth it. */
const LARGE = 50_000;

interface Waiting {
  readonly resolve: (values: Float64Array) => void;
  readonly reject: (error: Error) => void;
  /** Decodes here, for a worker that can't be loaded. */
  readonly here: () => void;
}

let worker: Worker | null | undefined;
let lastId = 0;
const waiting = new Map<number, Waiting>();

/** As `decodeArray`; rejects with the signal's reason as soon as it is aborted. */
export function decode(bytes: Uint8Array, encoding: Encoding, signal?: AbortSignal): Promise<Float64Array> {
  const count = encoding.shape.reduce((product, size) => product * size, 1);
  const found = count > LARGE ? decodeWorker() : null;
  if (!found) return decodeArray(bytes, encoding);
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    lastId += 1;
    const id = lastId;
    waiting.set(id, {
      resolve,
      reject,
      here: () => void decodeArray(bytes, encoding).then(resolve, reject),
    });
    signal?.addEventListener("abort", () => {
      waiting.delete(id);
      reject(signal.reason);
    });
    const copy = bytes.slice();
    const request: DecodeRequest = { id, bytes: copy, encoding };
    found.postMessage(request, [copy.buffer]);
  });
}

function decodeWorker(): Worker | null {
  if (worker !== undefined) return worker;
  const started = startDecodeWorker();
  if (!started) return null;
  started.onmessage = ({ data }: MessageEvent<DecodeReply>) => {
    const asked = waiting.get(data.id);
    waiting.delete(data.id);
    if ("values" in data) asked?.resolve(data.values);
    else asked?.reject(new DecodeError(data.message));
  };
  started.onerror = () => {
    // A proxy may not serve the worker's file: the page then decodes by itself.
    worker = null;
    for (const [id, { here }] of [...waiting]) {
      waiting.delete(id);
      here();
    }
  };
  worker = started;
  return worker;
}
