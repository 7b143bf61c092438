import { deflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { DecodeError, decodeArray, type Encoding, unshuffle } from "@/maths/decode";

function bytesOf(values: readonly number[], dtype: Encoding["dtype"]): Uint8Array {
  const width = dtype === "f4" ? 4 : 8;
  const view = new DataView(new ArrayBuffer(values.length * width));
  values.forEach((value, index) => {
    if (dtype === "f4") view.setFloat32(index * 4, value, true);
    else if (dtype === "f8") view.setFloat64(index * 8, value, true);
    else view.setBigInt64(index * 8, BigInt(value), true);
  });
  return new Uint8Array(view.buffer);
}

function shuffled(bytes: Uint8Array, width: number): Uint8Array {
  const count = bytes.length / width;
  return Uint8Array.from(bytes, (_, at) => bytes[(at % count) * width + Math.floor(at / count)] as number);
}

const VALUES = [0.1, -2.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-30];

describe("decoding an array", () => {
  it("reads raw doubles, with what is not finite", async () => {
    const found = await decodeArray(bytesOf(VALUES, "f8"), { dtype: "f8", shape: [2, 3], codec: "raw" });
    expect([...found]).toEqual(VALUES);
  });

  it("reads compressed doubles", async () => {
    const found = await decodeArray(deflateSync(bytesOf(VALUES, "f8")), {
      dtype: "f8",
      shape: [6],
      codec: "zlib",
    });
    expect([...found]).toEqual(VALUES);
  });

  it("undoes the regrouping by significance", async () => {
    const stored = deflateSync(shuffled(bytesOf(VALUES, "f4"), 4));
    const found = await decodeArray(stored, { dtype: "f4", shape: [3, 2], codec: "shuffle-zlib" });
    expect([...found]).toEqual(VALUES.map(Math.fround));
  });

  it("reads counts as numbers", async () => {
    const stored = deflateSync(shuffled(bytesOf([1000, -1, 2 ** 40], "i8"), 8));
    const found = await decodeArray(stored, { dtype: "i8", shape: [3], codec: "shuffle-zlib" });
    expect([...found]).toEqual([1000, -1, 2 ** 40]);
  });

  it("reads what numpy wrote", async () => {
    // encode_array(np.array([[1.5, nan, -inf], [0, 2, 3]], dtype="<f4")) of slicer_core.slices, level 1.
    const stored = Buffer.from(NUMPY_BYTES, "hex");
    const found = await decodeArray(stored, { dtype: "f4", shape: [2, 3], codec: "shuffle-zlib" });
    expect([...found]).toEqual([1.5, Number.NaN, Number.NEGATIVE_INFINITY, 0, 2, 3]);
  });

  it.each([
    ["too few bytes", bytesOf([1, 2], "f8"), "raw"],
    ["too many bytes", deflateSync(bytesOf([1, 2, 3, 4], "f8")), "zlib"],
    ["a damaged stream", new Uint8Array([120, 156, 1, 2, 3]), "zlib"],
    ["no stream at all", new Uint8Array(24), "shuffle-zlib"],
    ["a stream that breaks off", deflateSync(bytesOf([0.1, 0.2, 0.3], "f8")).subarray(0, 12), "zlib"],
  ] as const)("refuses %s", async (_, bytes, codec) => {
    await expect(decodeArray(bytes, { dtype: "f8", shape: [3], codec })).rejects.toThrow(DecodeError);
  });

  it("refuses a shape that would fill the memory, before it allocates", async () => {
    const bomb = deflateSync(new Uint8Array(1000));
    await expect(decodeArray(bomb, { dtype: "f8", shape: [1e6, 1e6], codec: "zlib" })).rejects.toThrow(
      /64 MiB/,
    );
    await expect(decodeArray(bomb, { dtype: "f8", shape: [1e300, 1e300], codec: "zlib" })).rejects.toThrow(
      /MiB/,
    );
  });

  it("stops a stream that inflates to more than the header gives", async () => {
    const bomb = deflateSync(new Uint8Array(50_000_000));
    await expect(decodeArray(bomb, { dtype: "f4", shape: [4], codec: "zlib" })).rejects.toThrow(
      /more than the 16 bytes/,
    );
  });
});

describe("unshuffle", () => {
  it("puts byte b of value v from b * count + v", () => {
    expect([...unshuffle(new Uint8Array([1, 4, 2, 5, 3, 6]), 3)]).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

const NUMPY_BYTES = "78016360408003071a18181cecebff333838000020c9047e";
