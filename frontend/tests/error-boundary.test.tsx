// @vitest-environment happy-dom
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ErrorBoundary } from "@/components/error-boundary";

describe("a slice that can't be drawn", () => {
  let broken = true;

  function Dashboard() {
    if (broken) throw new Error("no such color");
    return <p>drawn</p>;
  }

  function card(resetKey: string) {
    return (
      <ErrorBoundary
        resetKey={resetKey}
        fallback={(error, retry) => (
          <button type="button" onClick={retry}>
            {error.message}
          </button>
        )}
      >
        <Dashboard />
      </ErrorBoundary>
    );
  }

  beforeEach(() => {
    broken = true;
    vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
    // React reports each caught error there.
    vi.spyOn(console, "error").mockImplementation(() => {});
  });

  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });

  it("says why, and is drawn on the next try or with the next slice", async () => {
    const place = document.createElement("div");
    const root = createRoot(place);
    await act(async () => root.render(card("a")));
    expect(place.textContent).toBe("no such color");
    broken = false;
    await act(async () => place.querySelector("button")?.click());
    expect(place.textContent).toBe("drawn");
    broken = true;
    await act(async () => root.render(card("b")));
    expect(place.textContent).toBe("no such color");
    broken = false;
    await act(async () => root.render(card("c")));
    expect(place.textContent).toBe("drawn");
  });
});
