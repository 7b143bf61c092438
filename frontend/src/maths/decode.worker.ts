/** Decodes arrays off the main thread: one request in, the values or an error's message out. */
import { decodeArray, type Encoding } from "./decode";

export interface DecodeRequest {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly encoding: Encoding;
}

export type DecodeReply =
  | { readonly id: number; readonly values: Float64Array }
  | { readonly id: number; readonly message: string };

const scope = self as unknown as {
  onmessage: (event: MessageEvent<DecodeRequest>) => void;
  postMessage(reply: DecodeReply, transfer: Transferable[]): void;
};

scope.onmessage = async ({ data: { id, bytes, encoding } }) => {
  try {
    const values = await decodeArray(bytes, encoding);
    scope.postMessage({ id, values }, [values.buffer]);
  } catch (error) {
    scope.postMessage({ id, message: error instanceof Error ? error.message : String(error) }, []);
  }
};
