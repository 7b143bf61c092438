// @vitest-environment happy-dom
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CurveTile } from "@/components/plots/curve-tile";
import { plotTheme } from "@/components/plots/theme";
import { curveDomain } from "@/maths/family";

describe("a small plot", () => {
  beforeEach(() => vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true));
  afterEach(() => vi.unstubAllGlobals());

  async function drawn(values: readonly number[]): Promise<HTMLElement> {
    const place = document.createElement("div");
    const theme = plotTheme(false);
    const lines = [{ label: "loss", color: "#000000", values: Float64Array.from(values), stderr: null }];
    const domain = curveDomain(lines, { scale: "linear", range: "full" }, "high", null);
    const x = Float64Array.from(values, (_, index) => index);
    await act(async () =>
      createRoot(place).render(
        <CurveTile
          {...{
            index: 0,
            name: "w",
            layer: "fc",
            center: null,
            x,
            xDomain: [0, x.length - 1],
            domain,
            lines,
          }}
          {...{ scale: "linear", width: 200, unit: 1, left: 20, theme, onOpen: () => {} }}
        />,
      ),
    );
    return place;
  }

  it("has a dot for a finite point between others that are not, and for the only one", async () => {
    const { NaN: none } = Number;
    expect((await drawn([none, 3, none, none])).querySelectorAll("circle")).toHaveLength(1);
    expect((await drawn([3])).querySelectorAll("circle")).toHaveLength(1);
    expect((await drawn([1, 2, none, 3, 4])).querySelectorAll("circle")).toHaveLength(0);
  });
});
