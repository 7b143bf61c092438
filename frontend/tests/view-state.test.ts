import { describe, expect, it } from "vitest";
import {
  DEFAULT_VIEW,
  hasViewState,
  isOurTab,
  readViewState,
  type ViewState,
  writeViewState,
} from "@/lib/view-state";

describe("the view in TensorBoard's address", () => {
  it("is not written where it is the default", () => {
    expect(writeViewState("#loss_slicer", DEFAULT_VIEW)).toBe("#loss_slicer");
    expect(writeViewState("", DEFAULT_VIEW)).toBe("#loss_slicer");
  });

  it("is read back as it was written, with any text in it", () => {
    const view: ViewState = {
      runs: ["a&b=c", "<img src=x>", "ü %20 /"],
      runFilter: "adam|sgd",
      filter: "^loss.*&=#",
      method: "pca_2d",
      step: 0,
      follow: true,
      speed: 0.5,
      pinned: [{ run: "a=b", tag: "[x]" }],
      wide: [{ run: "a", tag: '"' }],
      compared: [
        { run: "a", tag: "t", step: null },
        { run: "a", tag: "t", step: -3 },
      ],
      comparing: true,
      metric: "top 1",
      split: "test",
      range: "full",
      scale: "log",
      colors: "magma",
      levels: 0,
      shading: "smooth",
      smoothing: 2.5,
      parameters: "fc\\.",
      shared: true,
      bounds: 0.35,
      sort: "curvature",
      display: "surface",
      ghosts: false,
      overlay: true,
      across: "log",
      limits: "all",
      at: "0.1, 2",
      spacing: "ratio",
      significance: false,
      linked: false,
      zooms: [{ axes: "0123abcd", k: 2.5, x: -0.25, y: -1.5 }],
      cut: [-0.5, 0, 1e-3, 2],
      height: 2,
      camera: [30, 60, 1.5],
    };
    const hash = writeViewState("#loss_slicer", view);
    expect(readViewState(hash)).toEqual(view);
    // TensorBoard drops a part that has more than one equals sign.
    for (const part of hash.split("&").slice(1)) expect(part.split("=")).toHaveLength(2);
  });

  it("leaves the keys of others alone", () => {
    const before = "#loss_slicer&_smoothing=0.5&p.other.step=7&p.loss_slicer.step=3";
    const after = writeViewState(before, { ...DEFAULT_VIEW, step: 12 });
    expect(after).toBe("#loss_slicer&_smoothing=0.5&p.other.step=7&p.loss_slicer.step=12");
  });

  it.each([
    "p.loss_slicer.step=abc",
    "p.loss_slicer.levels=9999",
    "p.loss_slicer.colors=neon",
    "p.loss_slicer.runs=[1",
    "p.loss_slicer.shared=perhaps",
    "p.loss_slicer.cut=1,2,3",
    "p.loss_slicer.cut=1,2,3,",
    "p.loss_slicer.camera=1,NaN,2",
    "p.loss_slicer.speed=3",
    'p.loss_slicer.zooms=[["0123abcd",2,0.5,0]]',
    'p.loss_slicer.zooms=[["0123abcd",1e9,0,0]]',
    'p.loss_slicer.zooms=[["axes",2,0,0]]',
    "p.loss_slicer.pinned=[[1,2]]",
    "p.loss_slicer.pinned={}",
    'p.loss_slicer.compared=[["a","t",1.5]]',
    'p.loss_slicer.compared=[["a","t"]]',
    `p.loss_slicer.wide=${JSON.stringify(Array(101).fill(["a", "t"]))}`,
    "p.loss_slicer.unknown=1",
    "p.loss_slicer.__proto__=1",
    "p.loss_slicer.filter=%E0%A4%A",
  ])("falls back to the default at %s", (part) => {
    expect(readViewState(`#loss_slicer&${part}`)).toEqual(DEFAULT_VIEW);
  });

  it("knows whose tab is open", () => {
    expect(isOurTab("#loss_slicer&p.loss_slicer.step=1")).toBe(true);
    expect(isOurTab("")).toBe(true);
    expect(isOurTab("#timeseries&p.loss_slicer.step=1")).toBe(false);
    expect(hasViewState("#loss_slicer&p.loss_slicer.step=1")).toBe(true);
    expect(hasViewState("#loss_slicer&p.other.step=1")).toBe(false);
  });
});
