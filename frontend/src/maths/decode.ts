/**
 * Stored bytes to numbers. Everything here comes from a file that anyone may have written: sizes are checked
 * before anything is allocated, and inflating stops as soon as there is more than the header promised.
 */

export const DTYPES = ["f4", "f8", "i8"] as const;
export const CODECS = ["raw", "zlib", "shuffle-zlib"] as const;
export type Dtype = (typeof DTYPES)[number];
export type Codec = (typeof CODECS)[number];

export interface Encoding {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly codec: Codec;
}

/** Decoded bytes of one array above which the page refuses it. */
export const MAX_ARRAY_BYTES = 64 * 2 ** 20;

const WIDTH: Record<Dtype, number> = { f4: 4, f8: 8, i8: 8 };

export class DecodeError extends Error {
  override name = "DecodeError";
}

/** The values in C order, as doubles whatever they were stored as; NaN and infinities are kept. */
export async function decodeArray(bytes: Uint8Array, encoding: Encoding): Promise<Float64Array> {
  const width = WIDTH[encoding.dtype];
  const count = encoding.shape.reduce((product, size) => product * size, 1);
  const expected = count * width;
  if (!Number.isSafeInteger(expected) || expected < 0 || expected > MAX_ARRAY_BYTES) {
    throw new DecodeError(
      `an array of shape ${encoding.shape.join(" × ")} is larger than the ${MAX_ARRAY_BYTES / 2 ** 20} MiB this page shows`,
    );
  }
  const inflated = encoding.codec === "raw" ? bytes : await inflate(bytes, expected);
  if (inflated.length !== expected) {
    throw new DecodeError(`an array needs ${expected} bytes, found ${inflated.length}`);
  }
  const plain = encoding.codec === "shuffle-zlib" ? unshuffle(inflated, width) : inflated;
  return toDoubles(plain, encoding.dtype, count);
}

/** Undoes the regrouping by significance: byte `b` of value `v` is at `b * count + v`. */
export function unshuffle(bytes: Uint8Array, width: number): Uint8Array {
  const count = bytes.length / width;
  const plain = new Uint8Array(bytes.length);
  for (let plane = 0; plane < width; plane++) {
    const start = plane * count;
    for (let value = 0; value < count; value++) plain[value * width + plane] = bytes[start + value] as number;
  }
  return plain;
}

async function inflate(bytes: Uint8Array, expected: number): Promise<Uint8Array> {
  const source = new Blob([bytes.slice()]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = source.getReader();
  const whole = new Uint8Array(expected);
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (length + value.length > expected) {
        await reader.cancel();
        throw new DecodeError(`a compressed array holds more than the ${expected} bytes its header gives`);
      }
      whole.set(value, length);
      length += value.length;
    }
  } catch (error) {
    if (error instanceof DecodeError) throw error;
    throw new DecodeError("a compressed array is damaged");
  }
  return whole.subarray(0, length);
}

function toDoubles(bytes: Uint8Array, dtype: Dtype, count: number): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float64Array(count);
  for (let index = 0; index < count; index++) {
    if (dtype === "f8") values[index] = view.getFloat64(index * 8, true);
    else if (dtype === "f4") values[index] = view.getFloat32(index * 4, true);
    else values[index] = Number(view.getBigInt64(index * 8, true));
  }
  return values;
}
