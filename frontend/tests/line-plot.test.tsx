// @vitest-environment happy-dom
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LinePlot } from "@/components/plots/line-plot";
import { plotTheme } from "@/components/plots/theme";

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.spyOn(Element.prototype, "getBoundingClientRect").mockReturnValue(new DOMRect(0, 0, 600, 300));
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

async function drawn(values: readonly number[]): Promise<HTMLElement> {
  const place = document.createElement("div");
  const line = { key: "loss", label: "loss", color: "#000000", stderr: null };
  const of = Float64Array.from(values);
  const x = Float64Array.from(values, (_, index) => index);
  await act(async () =>
    createRoot(place).render(
      <LinePlot
        {...{ label: "loss", summary: "", xLabel: "α", yLabel: "loss", scale: "linear", range: "full" }}
        series={[{ ...line, x, values: of, smoothed: of }]}
        markers={[{ name: "center", x: 1, y: 0.5 }]}
        tails="high"
        theme={plotTheme(false)}
      />,
    ),
  );
  return place;
}

it("has a ring at a marker's loss only where the axis has numbers", async () => {
  const { NaN: none } = Number;
  const rings = 'svg[data-figure] circle[stroke-width="1.5"]';
  expect((await drawn([0, 1, 0])).querySelectorAll(rings)).toHaveLength(1);
  const empty = await drawn([none, none, none]);
  expect(empty.querySelectorAll(rings)).toHaveLength(0);
  expect(empty.textContent).toContain("center");
});
