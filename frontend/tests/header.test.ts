import { describe, expect, it } from "vitest";
import { jsonText, seriesLabel, stepUnit } from "@/lib/describe";
import { HeaderError, parseHeader } from "@/lib/slice";
import { ALL_SPLITS, chooseSeries } from "@/lib/slice-loading";

function array(name: string, split: string, blob: number, role = "value") {
  return {
    name,
    split,
    role,
    blob,
    dtype: "f8",
    shape: [3, 2],
    codec: "raw",
    bytes: 48,
    min: 0,
    max: 1,
    nonfinite: 0,
  };
}

function header(change: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    schema: 1,
    id: "abc",
    slice_type: "random_direction_2d",
    geometry: "grid",
    axes: [
      { name: "a", label: "first", values: [0, 1, 2] },
      { name: "b", label: "second", values: [0, 1] },
    ],
    arrays: [
      array("loss", "train", 1),
      array("loss", "train", 2, "stderr"),
      array("loss", "test", 3),
      array("accuracy", "train", 4),
    ],
    ...change,
  };
}

describe("a header", () => {
  it("is read with nothing but axes and arrays", () => {
    const found = parseHeader(header());
    expect(found.axes.map((axis) => [...axis.values])).toEqual([
      [0, 1, 2],
      [0, 1],
    ]);
    expect(found).toMatchObject({
      geometry: "grid",
      provisional: false,
      center: null,
      markers: [],
      measures: [],
    });
  });

  it("keeps a trajectory's lists together where a point is dropped", () => {
    const trajectory = {
      steps: [0, 10, 20],
      coordinates: [
        [0, 0],
        [null, 1],
        [2, 2],
      ],
      residuals: [0.1, 0.2, 0.3],
      losses: { train: [3, 2, null], test: [1] },
    };
    expect(parseHeader(header({ trajectory })).trajectory).toEqual({
      steps: [0, 20],
      coordinates: [
        [0, 0],
        [2, 2],
      ],
      residuals: [0.1, 0.3],
      losses: { train: [3, Number.NaN] },
    });
  });

  it("ignores what it does not know, and survives what is wrong in the parts that only inform", () => {
    const found = parseHeader(
      header({
        future: 1,
        markers: [3, { name: 5, coordinates: ["x"] }],
        measures: [],
        directions: "no",
        center: 7,
        cosine: "x",
      }),
    );
    expect(found).toMatchObject({ markers: [], measures: [], directions: [], cosine: null });
  });

  it("leaves out arrays of a role that this page does not know", () => {
    const arrays = [
      array("loss", "train", 1),
      array("loss", "train", 2, "difference_stderr"),
      array("loss", "train", 3, "of tomorrow"),
    ];
    expect(parseHeader(header({ arrays })).arrays.map((entry) => entry.role)).toEqual([
      "value",
      "difference_stderr",
    ]);
  });

  it("takes null for a number that is not finite", () => {
    const found = parseHeader(header({ center: { loss: { train: null } } }));
    expect(found.center?.loss.train).toBeNaN();
  });

  it("has no values of splits and metrics that are called as what each object has", () => {
    const steps = { steps: [1], coordinates: [[0, 0]], losses: { train: [2] } };
    const center = { loss: { train: 1 }, metrics: { accuracy: { train: 1 } } };
    const markers = [{ name: "end", coordinates: [0, 0], loss: { train: 3 } }];
    const found = parseHeader(header({ center, markers, trajectory: steps }));
    for (const name of ["constructor", "toString", "__proto__"]) {
      expect(found.center?.loss[name]).toBeUndefined();
      expect(found.center?.metrics[name]).toBeUndefined();
      expect(found.markers[0]?.loss[name]).toBeUndefined();
      expect(found.trajectory?.losses[name]).toBeUndefined();
    }
    expect(found.markers[0]?.loss.train).toBe(3);
    expect(found.trajectory?.losses.train).toEqual([2]);
  });

  it.each([
    ["no object", 3],
    ["an unknown geometry", header({ geometry: "cube" })],
    ["too few axes", header({ axes: [] })],
    ["an axis without numbers", header({ axes: [{ values: [] }, { values: [0] }] })],
    ["an axis that is not finite", header({ axes: [{ values: [0, null, 2] }, { values: [0, 1] }] })],
    [
      "an axis that is too long to measure",
      header({ axes: [{ values: [-1e308, 0, 1e308] }, { values: [0, 1] }] }),
    ],
    ["an array of another shape", header({ arrays: [{ ...array("loss", "train", 1), shape: [2, 3] }] })],
    ["a dtype that it can't read", header({ arrays: [{ ...array("loss", "train", 1), dtype: "f2" }] })],
    ["the header's own blob as an array", header({ arrays: [array("loss", "train", 0)] })],
    ["errors without values", header({ arrays: [array("loss", "train", 1, "stderr")] })],
  ])("refuses %s", (_, value) => {
    expect(() => parseHeader(value)).toThrow(HeaderError);
  });
});

describe("the series that a selection means", () => {
  const found = parseHeader(header());

  it("is the first by default", () => {
    expect(chooseSeries(found, { metric: "", split: "" })).toMatchObject([{ name: "loss", split: "train" }]);
  });

  it("is the named one, or the first split of the metric where that split is not there", () => {
    expect(chooseSeries(found, { metric: "loss", split: "test" })).toMatchObject([
      { name: "loss", split: "test" },
    ]);
    expect(chooseSeries(found, { metric: "accuracy", split: "test" })).toMatchObject([
      { name: "accuracy", split: "train" },
    ]);
    expect(chooseSeries(found, { metric: "gone", split: "gone" })).toMatchObject([
      { name: "loss", split: "train" },
    ]);
  });

  it("is all splits where lines are drawn, but one where a plane is", () => {
    expect(chooseSeries(found, { metric: "", split: ALL_SPLITS })).toHaveLength(1);
    expect(chooseSeries({ ...found, geometry: "curve" }, { metric: "", split: ALL_SPLITS })).toHaveLength(2);
  });
});

describe("words for people", () => {
  it("name the split where there is one", () => {
    expect(seriesLabel({ name: "loss", split: "train" })).toBe("loss (train)");
    expect(seriesLabel({ name: "loss", split: "" })).toBe("loss");
  });

  it("spell any JSON on one line of bounded length", () => {
    expect(jsonText({ a: [1, 2.5], b: null, c: true })).toBe("a = 1, 2.5; b = –; c = yes");
    expect(jsonText("x".repeat(10_000)).length).toBeLessThan(500);
  });
});

describe("the unit of a step", () => {
  it("is what the checkpoint says, where that is known", () => {
    expect(stepUnit({ checkpoint: { step_unit: "epoch" } })).toBe("epoch");
    expect(stepUnit({ checkpoint: {} })).toBe("step");
    expect(stepUnit({ checkpoint: { step_unit: "<b>" } })).toBe("step");
  });
});
