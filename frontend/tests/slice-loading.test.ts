import { afterEach, describe, expect, it, vi } from "vitest";
import { ALL_METRICS, loadSlices } from "@/lib/slice-loading";

interface Query {
  readonly requests: readonly { run: string; tag: string; steps: number[]; blobs: number[] }[];
}

interface Stored {
  readonly header: object | null;
  readonly blobs: Readonly<Record<number, Float64Array>>;
}

const SELECTION = { metric: "", split: "" };
const ARRAY = { dtype: "f8", codec: "raw", shape: [2], split: "train" };

function header(arrays: readonly object[], id = "") {
  return {
    id,
    geometry: "curve",
    axes: [{ name: "a", values: [0, 1] }],
    arrays: arrays.map((entry) => ({ ...ARRAY, ...entry })),
  };
}

/** The form of a batch's reply (docs/http-api.md): length, index, parts at multiples of 8. */
function framed(query: Query, log: Readonly<Record<number, Stored>>): ArrayBuffer {
  const bodies: Uint8Array[] = [];
  let offset = 0;
  const parts = query.requests.flatMap(({ steps, blobs }) =>
    steps.flatMap((step) =>
      blobs.map((blob) => {
        const stored = log[step];
        const values = blob === 0 ? stored?.header : stored?.blobs[blob];
        if (!values) return { step, blob, status: 404, error: `there is no array ${blob}` };
        const bytes =
          values instanceof Float64Array
            ? new Uint8Array(values.buffer)
            : new TextEncoder().encode(JSON.stringify(values));
        const room = new Uint8Array(Math.ceil(bytes.length / 8) * 8);
        room.set(bytes);
        bodies.push(room);
        offset += room.length;
        return { step, blob, status: 200, offset: offset - room.length, length: bytes.length };
      }),
    ),
  );
  const text = JSON.stringify({ parts });
  const padded = text + " ".repeat(Math.ceil((4 + text.length) / 8) * 8 - 4 - text.length);
  const reply = new Uint8Array(4 + padded.length + offset);
  new DataView(reply.buffer).setUint32(0, padded.length, true);
  reply.set(new TextEncoder().encode(padded), 4);
  let at = 4 + padded.length;
  for (const body of bodies) {
    reply.set(body, at);
    at += body.length;
  }
  return reply.buffer;
}

/** Answers batches from this log; what was asked is in the list. */
function serve(log: Readonly<Record<number, Stored>>): Query[] {
  const asked: Query[] = [];
  vi.stubGlobal("fetch", async (address: string) => {
    const query = JSON.parse(new URLSearchParams(address.split("?")[1]).get("q") ?? "") as Query;
    asked.push(query);
    return new Response(framed(query, log));
  });
  return asked;
}

afterEach(() => vi.unstubAllGlobals());

describe("slices are loaded", () => {
  it("with header and arrays in one request, in the usual places and then where the last ones were", async () => {
    const [values, far] = [Float64Array.of(1, 2), Float64Array.of(3, 4)];
    const usual = { header: header([{ name: "loss", blob: 1 }]), blobs: { 1: values } };
    const elsewhere = { header: header([{ name: "loss", blob: 7 }]), blobs: { 7: far } };
    const asked = serve({ 0: usual, 10: elsewhere, 20: elsewhere });
    const key = { run: "r", tag: "places" };
    expect((await loadSlices(key, [0], SELECTION)).get(0)).toMatchObject({ series: [{ values }] });
    expect(asked).toHaveLength(1);
    expect((await loadSlices(key, [10], SELECTION)).get(10)).toMatchObject({ series: [{ values: far }] });
    expect(asked).toHaveLength(3);
    expect((await loadSlices(key, [20], SELECTION)).get(20)).toMatchObject({ series: [{ values: far }] });
    expect(asked.slice(3).map(({ requests }) => requests[0]?.blobs)).toEqual([[0, 7]]);
  });

  it("several steps at once, a step that can't be read being an error beside the others", async () => {
    const good = { header: header([{ name: "loss", blob: 1 }]), blobs: { 1: Float64Array.of(1, 2) } };
    const asked = serve({
      0: good,
      1: { header: { geometry: "sphere" }, blobs: {} },
      2: { header: null, blobs: {} },
    });
    const found = await loadSlices({ run: "r", tag: "several" }, [0, 1, 2], SELECTION);
    expect(asked).toHaveLength(1);
    expect(found.get(0)).toMatchObject({ step: 0 });
    expect(found.get(1)).toMatchObject({ name: "HeaderError" });
    expect(found.get(2)).toMatchObject({ name: "ApiError", status: 404 });
  });

  it("without the counts of the points, unless some points were filled in", async () => {
    const loss = [
      { name: "loss", blob: 1 },
      { name: "loss", blob: 2, role: "count" },
    ];
    const counts = Float64Array.of(9, 9);
    const blobs = { 1: Float64Array.of(1, 2), 2: counts, 3: Float64Array.of(0, 1) };
    serve({
      0: { header: header(loss), blobs },
      1: { header: header([...loss, { name: "loss", blob: 3, role: "interpolated" }]), blobs },
    });
    const key = { run: "r", tag: "counts" };
    expect((await loadSlices(key, [0], SELECTION)).get(0)).toMatchObject({ series: [{ count: null }] });
    expect((await loadSlices(key, [1], SELECTION)).get(1)).toMatchObject({ series: [{ count: counts }] });
  });

  it("with the band of several directions, which is no metric of its own", async () => {
    const names = ["loss", "loss_mean", "loss_low", "loss_high", "accuracy"];
    const blobs = Object.fromEntries(names.map((_, index) => [index + 1, Float64Array.of(index, index)]));
    serve({ 0: { header: header(names.map((name, index) => ({ name, blob: index + 1 }))), blobs } });
    const key = { run: "r", tag: "band" };
    expect((await loadSlices(key, [0], SELECTION)).get(0)).toMatchObject({
      series: [{ name: "loss", spread: { mean: blobs[2], low: blobs[3], high: blobs[4] } }],
    });
    const all = (await loadSlices(key, [0], { metric: ALL_METRICS, split: "" })).get(0);
    expect(all).toMatchObject({ series: [{ name: "loss" }, { name: "accuracy", spread: null }] });
    if (all instanceof Error) throw all;
    expect(all?.series).toHaveLength(2);
  });

  it("once for each content: what is in memory is neither asked for nor decoded again", async () => {
    const stored = {
      header: header([{ name: "loss", blob: 5 }], "hash"),
      blobs: { 5: Float64Array.of(1, 2) },
    };
    const asked = serve({ 0: stored });
    const first = (await loadSlices({ run: "r", tag: "once" }, [0], SELECTION)).get(0);
    const again = (await loadSlices({ run: "r", tag: "once" }, [0], { metric: "loss", split: "" })).get(0);
    expect(asked).toHaveLength(3);
    if (!first || !again || first instanceof Error || again instanceof Error) throw new Error("not loaded");
    expect(again.series[0].values).toBe(first.series[0].values);
  });
});
