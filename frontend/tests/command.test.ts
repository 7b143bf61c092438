import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { commandOf, finerRegion } from "@/lib/command";
import { parseHeader, type SliceHeader } from "@/lib/slice";

function header(config: Record<string, unknown>, step = 2000): SliceHeader {
  return parseHeader({
    geometry: "grid",
    axes: [
      { name: "a", values: [-1, 0, 1] },
      { name: "b", values: [-1, -0.5, 0, 0.5, 1] },
    ],
    arrays: [{ name: "loss", blob: 1, dtype: "f8", shape: [3, 5], codec: "raw" }],
    checkpoint: { step },
    config: { method: "random2d", checkpoints: ["runs/exp 7"], center: "each", steps: "all", ...config },
  });
}

/** What a shell makes of a command line. */
function words(command: string): string[] {
  const text = execFileSync("sh", ["-c", `printf '%s\\0' ${command}`]).toString();
  return text.split("\0").slice(0, -1);
}

describe("the command that repeats a slice", () => {
  it("gives what is not the command's default, lists one by one", () => {
    const command = commandOf(
      header({
        grid: "9x7",
        seed: 0,
        params: [],
        exclude: ["a.*", "b.*"],
        tolerance: null,
        batch_coupled: true,
        method_options: { repeats: 3 },
        set: { width: 64, name: "x" },
      }),
    );
    expect(words(command ?? "")).toEqual([
      ...["loss-slicer", "run", "--method", "random2d", "--checkpoints", "runs/exp 7"],
      ...["--grid", "9x7", "--exclude", "a.*", "--exclude", "b.*", "--batch-coupled"],
      ...["--set", "width=64", "--set", "name=x", "--repeats", "3"],
    ]);
  });

  it.each(["$(touch /tmp/x)", "`id`", "a'; id #", '"$HOME"', "a\\", "!!", "*", "~root", "a && b | c > d"])(
    "reaches a shell as one word: %s",
    (name) => {
      expect(words(commandOf(header({ name })) ?? "")).toContain(name);
    },
  );

  it.each(["a\nid", "\u001b[201~id\r", "a\u202eb"])("is not given for what can't be seen: %j", (name) => {
    expect(commandOf(header({ name }))).toBeNull();
  });

  it("is not given where the configuration is none", () => {
    expect(commandOf(header({ method: 3 }))).toBeNull();
    expect(commandOf(header({ "x; id": "y" }))).toBeNull();
    expect(commandOf(header({ method_options: { "--x": 1 } }))).toBeNull();
    expect(commandOf(header({ grid: { a: 1 } }))).toBeNull();
  });

  it("never repeats a trust that was given for another file", () => {
    expect(commandOf(header({ trust_checkpoint: true }))).not.toContain("trust");
  });

  it("asks for the part in view alone, at its own step, under another tag", () => {
    const data = header({ grid: "3x5", range: "-1:1,-1:1" });
    const region = finerRegion(data, [
      [-0.5, 0.25],
      [-9, 0.123456789],
    ]);
    expect(words(commandOf(data, region ?? undefined) ?? "").join(" ")).toBe(
      "loss-slicer run --method random2d --checkpoints runs/exp 7 --steps 2000 --grid 3x5 " +
        "--range -0.5:0.25,-1:0.123457 --name random2d-part",
    );
  });

  it("asks for all steps where a direction depends on them", () => {
    const data = header({ method: "pca2d" });
    const region = { ranges: [[0, 1] as const, [0, 1] as const], points: [3, 5] };
    expect(commandOf(data, region)).not.toContain("--steps");
  });

  it("has no finer part where all is in view", () => {
    expect(
      finerRegion(header({}), [
        [-1, 1],
        [-2, 2],
      ]),
    ).toBeNull();
  });
});
