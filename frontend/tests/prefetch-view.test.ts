import { describe, expect, it } from "vitest";
import { answerBy } from "@/lib/api";
import { createQueryClient, prefetchView } from "@/lib/query-options";
import { readViewState } from "@/lib/view-state";

const TAGS = {
  run: { tag: { slice_type: "random_direction_2d", geometry: "grid", last_step: 7, problem: null } },
};

/** What is asked for, in order; the reply with the slice comes when `release` is called. */
function held() {
  const asked: string[] = [];
  let release: () => void = () => {};
  const slice = new Promise<Response>((resolve) => {
    release = () => resolve(new Response("", { status: 404 }));
  });
  answerBy(async (address) => {
    const route = address.split("?")[0] as string;
    asked.push(route);
    if (route === "tags") return Response.json(TAGS);
    if (route === "batch") return slice;
    return Response.json({ steps: [3, 7], wall_times: [0, 0], sampled: false, limit: 1000 });
  });
  return { asked, release };
}

/** Until nothing happens any more without a reply. */
const settled = () => new Promise((resolve) => setTimeout(resolve));

describe("what is asked for before anything is drawn", () => {
  it("is the newest slice, and the list of steps when that is there", async () => {
    const { asked, release } = held();
    await prefetchView(createQueryClient(), readViewState(""));
    await settled();
    expect(asked).toEqual(["tags", "batch"]);
    release();
    await settled();
    await settled();
    expect(asked).toEqual(["tags", "batch", "steps"]);
  });

  it("is both at once where the list says which step is shown", async () => {
    const { asked } = held();
    await prefetchView(createQueryClient(), { ...readViewState(""), step: 5 });
    await settled();
    expect(asked).toEqual(["tags", "batch", "steps"]);
  });
});
