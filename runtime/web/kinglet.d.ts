/** Elements of a tensor; which type it takes is the tensor's `dtype`. */
export type Elements = Float32Array | Int8Array | Uint8Array | Int32Array;

/** An input or output. */
export interface Tensor {
  readonly name: string;
  readonly dtype: "float32" | "int8" | "uint8" | "int32";
  readonly shape: readonly number[];
  /** Quantisation: a real is `scale * (q - zeroPoint)`. 0 for floats. */
  readonly scale: number;
  readonly zeroPoint: number;
  /** Of an input that keeps its value from run to run: the output that this value is of. */
  readonly stateOf: string | null;
  /** Elements. */
  readonly length: number;
}

/** Where bytes come from. */
export type Source = string | URL | Response | ArrayBuffer | Uint8Array;

/** A plan ready to run. */
export class Model {
  private constructor();
  /** Opens a plan. `wasm` is kinglet.wasm, which is looked for beside kinglet.js. Throws an Error for a damaged plan. */
  static load(plan: Source, options?: { wasm?: Source }): Promise<Model>;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** One inference of a model with one input and one output beside its states. */
  run(x: Elements): Elements;
  /** One inference, with all arrays by name. States that are not given are carried from run to run. */
  run(x: Readonly<Record<string, Elements>>): Record<string, Elements>;
  /** Sets the states that are carried from run to run to zeroes. */
  reset(): void;
}
