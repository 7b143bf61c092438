import { expect, test } from "vitest";
import { answerBy, fetchBatch, fetchHeader, fetchSteps, fetchTags, hasDownloads } from "@/lib/api";
import { answersOf } from "@/lib/embedded";

const slice = (step: number) => ({
  run: "__proto__",
  tag: "a&b",
  step,
  wall_time: null,
  header: JSON.stringify({ schema: 1, axes: [], arrays: [], geometry: "curve", slice_type: "custom" }),
  arrays: [btoa("\x00\xff"), btoa("abc")],
});

const DOCUMENT = `{"tags": {"__proto__": {"a&b": {"slice_type": "custom", "geometry": "curve"}}},
  "slices": ${JSON.stringify([slice(1), slice(20)])}}`;

answerBy(answersOf(DOCUMENT));

test("runs, tags and steps are those of the document", async () => {
  expect(await fetchTags()).toMatchObject([{ run: "__proto__", tag: "a&b", geometry: "curve" }]);
  expect(await fetchSteps("__proto__", "a&b")).toMatchObject({ steps: [1, 20], sampled: false });
  expect(hasDownloads()).toBe(false);
});

test("arrays come as bytes, in the order of steps and then blobs, whatever the length of the query", async () => {
  for (const blobs of [
    [1, 2],
    [1, 2, ...Array.from({ length: 3000 }, (_, index) => index + 3)],
  ]) {
    const parts = await fetchBatch("__proto__", "a&b", [1, 20], blobs);
    const found = parts
      .filter(({ bytes }) => bytes)
      .map(({ part, bytes }) => [part.step, part.blob, ...(bytes ?? [])]);
    expect(found).toEqual([
      [1, 1, 0, 255],
      [1, 2, 97, 98, 99],
      [20, 1, 0, 255],
      [20, 2, 97, 98, 99],
    ]);
    expect(parts.length).toBe(2 * blobs.length);
    expect(parts.at(-1)?.part.status).toBe(blobs.length > 2 ? 404 : 200);
  }
});

test("what the document lacks is an error with a message", async () => {
  await expect(fetchHeader("__proto__", "a&b", 5)).rejects.toThrow("this file holds no such slice");
});

test("an answer that nobody waits for any more is not made", async () => {
  await expect(fetchSteps("__proto__", "a&b", AbortSignal.abort())).rejects.toThrow(/abort/);
});
