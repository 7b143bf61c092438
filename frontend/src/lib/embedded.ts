/** The plugin's answers (docs/http-api.md) from slices that stand in the document, see report.py. */

/** A slice as it is logged: its header as JSON text, its arrays in base64. */
interface EmbeddedSlice {
  readonly run: string;
  readonly tag: string;
  readonly step: number;
  readonly wall_time: number | null;
  readonly header: string;
  readonly arrays: readonly string[];
}

interface Embedded {
  readonly tags: unknown;
  readonly slices: readonly EmbeddedSlice[];
}

interface BatchRequest {
  readonly requests: readonly {
    readonly run: string;
    readonly tag: string;
    readonly steps: readonly number[];
    readonly blobs: readonly number[];
  }[];
}

/** What `answerBy` of `api` takes, from the document's JSON. */
export function answersOf(text: string): (address: string, init: RequestInit) => Promise<Response> {
  const { tags, slices } = JSON.parse(text) as Embedded;
  const stored = new Map(slices.map((slice) => [keyOf(slice.run, slice.tag, slice.step), slice]));
  const routes: Readonly<Record<string, (query: URLSearchParams) => Response>> = {
    tags: () => json(tags),
    steps: (query) => {
      const own = slices.filter((slice) => slice.run === query.get("run") && slice.tag === query.get("tag"));
      return json({
        steps: own.map((slice) => slice.step),
        wall_times: own.map((slice) => slice.wall_time),
        sampled: false,
        limit: 0,
      });
    },
    header: (query) => {
      const slice = find(query);
      return slice ? new Response(slice.header) : missing("slice");
    },
    data: (query) => {
      const bytes = blobOf(find(query), Number(query.get("array")));
      return bytes ? new Response(bytes) : missing("array");
    },
    batch: (query) => batch(JSON.parse(query.get("q") ?? "") as BatchRequest),
  };
  const find = (query: URLSearchParams) =>
    stored.get(keyOf(query.get("run") ?? "", query.get("tag") ?? "", Number(query.get("step"))));

  function batch({ requests }: BatchRequest): Response {
    const found: Uint8Array<ArrayBuffer>[] = [];
    let offset = 0;
    const parts = requests.flatMap(({ run, tag, steps, blobs }) =>
      steps.flatMap((step) =>
        blobs.map((blob) => {
          const bytes = blobOf(stored.get(keyOf(run, tag, step)), blob);
          if (!bytes) return { run, tag, step, blob, status: 404, error: `there is no array ${blob}` };
          found.push(bytes);
          const part = { run, tag, step, blob, status: 200, offset, length: bytes.length };
          offset += bytes.length;
          return part;
        }),
      ),
    );
    const index = new TextEncoder().encode(JSON.stringify({ parts }));
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, index.length, true);
    return new Response(new Blob([length, index, ...found]));
  }

  return async (address, init) => {
    init.signal?.throwIfAborted();
    const [route = "", query = ""] = address.split("?", 2);
    const given =
      typeof init.body === "string" ? new URLSearchParams({ q: init.body }) : new URLSearchParams(query);
    return routes[route]?.(given) ?? missing("answer");
  };
}

/** Arrays count from 1: the header comes before them. */
function blobOf(slice: EmbeddedSlice | undefined, blob: number): Uint8Array<ArrayBuffer> | null {
  if (slice && blob === 0) return new TextEncoder().encode(slice.header);
  const text = slice?.arrays[blob - 1];
  return text === undefined ? null : Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function keyOf(run: string, tag: string, step: number): string {
  return JSON.stringify([run, tag, step]);
}

function json(value: unknown): Response {
  return new Response(JSON.stringify(value));
}

function missing(what: string): Response {
  return new Response(`this file holds no such ${what}`, {
    status: 404,
    headers: { "Content-Type": "text/plain" },
  });
}
