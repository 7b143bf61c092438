import { afterEach, describe, expect, it, vi } from "vitest";
import { fetchBatch, fetchSteps, fetchTags } from "@/lib/api";

const LOG_IN = "<!doctype html><title>Please log in</title>";

function answeredWith(body: BodyInit): void {
  vi.stubGlobal("fetch", async () => new Response(body, { status: 200 }));
}

afterEach(() => vi.unstubAllGlobals());

describe("a reply that is not the plugin's", () => {
  it.each([
    ["a page to log in", LOG_IN],
    ["nothing", ""],
    ["an index that is none", new Uint8Array([4, 0, 0, 0, 110, 117, 108, 108])],
    ["an array beyond its end", batchOf({ parts: [{ status: 200, offset: 0, length: 999 }] })],
  ])("is not read as arrays: %s", async (_, body) => {
    answeredWith(body);
    await expect(fetchBatch("run", "tag", [0], [0])).rejects.toThrow("is not in the plugin's form");
  });

  it("is no list of tags or steps", async () => {
    answeredWith(LOG_IN);
    await expect(fetchTags()).rejects.toThrow("is not JSON");
    answeredWith("null");
    await expect(fetchTags()).rejects.toThrow("is not in the plugin's form");
    await expect(fetchSteps("run", "tag")).rejects.toThrow("is not in the plugin's form");
    answeredWith('{"steps": "all"}');
    await expect(fetchSteps("run", "tag")).rejects.toThrow("is not in the plugin's form");
  });
});

describe("steps", () => {
  it("that no number of JavaScript holds are counted, and none is taken for another", async () => {
    answeredWith(
      '{"steps": [-9007199254740993, -9007199254740991, 9007199254740991, 9007199254740992, 9007199254740993, 9223372036854775807], "wall_times": [1, 2, 3, 4, 5, 6], "sampled": false, "limit": 10}',
    );
    expect(await fetchSteps("run", "tag")).toMatchObject({
      steps: [-9007199254740991, 9007199254740991],
      wallTimes: [2, 3],
      beyond: 4,
    });
    answeredWith(
      '{"run": {"near": {"last_step": 9007199254740991}, "far": {"last_step": 9007199254740993}}}',
    );
    expect((await fetchTags()).map(({ lastStep }) => lastStep)).toEqual([9007199254740991, null]);
  });
});

function batchOf(index: object): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(JSON.stringify(index));
  const bytes = new Uint8Array(4 + text.length);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 4);
  return bytes;
}
