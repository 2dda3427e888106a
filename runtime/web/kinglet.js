// Kinglet for the web: runs plans in WebAssembly. `kinglet web MODEL -o FOLDER` puts it beside kinglet.wasm.

const TYPES = [Float32Array, Int8Array, Uint8Array, Int32Array];
const DTYPES = ["float32", "int8", "uint8", "int32"];

/** Bytes of an URL, a Response or a buffer. */
async function bytesOf(source) {
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  const response = source instanceof Response ? source : await fetch(source);
  if (!response.ok) throw new Error(`cannot read ${response.url}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** A plan ready to run. */
export class Model {
  #wasm;

  /** Opens a plan: its URL, a Response, or its bytes. `options.wasm` says where kinglet.wasm is, or has its bytes. */
  static async load(plan, options = {}) {
    const [code, bytes] = await Promise.all([
      bytesOf(options.wasm ?? new URL("kinglet.wasm", import.meta.url)),
      bytesOf(plan),
    ]);
    const { instance } = await WebAssembly.instantiate(code, {});
    return new Model(instance.exports, bytes);
  }

  constructor(wasm, plan) {
    this.#wasm = wasm;
    const at = wasm.kinglet_reserve(plan.length) >>> 0;
    if (at === 0) throw new Error(`there is not enough memory for a plan of ${plan.length} bytes`);
    new Uint8Array(wasm.memory.buffer, at, plan.length).set(plan);
    if (wasm.kinglet_open(at, plan.length) !== 0) throw new Error(`not a valid plan: ${this.#text()}`);
    this.inputs = this.#tensors(wasm.kinglet_input);
    this.outputs = this.#tensors(wasm.kinglet_output);
    for (const input of this.inputs) if (input.stateOf !== null) input.stateOf = this.outputs[input.stateOf].name;
  }

  /**
   * One inference. A typed array is for models with one input and one output beside their states, and gives one; an object with
   * typed arrays by the inputs' names gives one with all outputs by theirs. States are carried from run to run; they begin with
   * zeroes, or with what is given.
   */
  run(x) {
    if (!ArrayBuffer.isView(x)) return this.#run(x);
    const states = this.inputs.filter((t) => t.stateOf !== null).map((t) => t.stateOf);
    const takes = this.inputs.filter((t) => t.stateOf === null);
    const gives = this.outputs.filter((t) => !states.includes(t.name));
    if (takes.length !== 1 || gives.length !== 1)
      throw new Error(`the model takes ${names(this.inputs)} and gives ${names(this.outputs)}: run it with an object of arrays by name`);
    return this.#run({ [takes[0].name]: x })[gives[0].name];
  }

  /** Sets the states that are carried from run to run to zeroes. */
  reset() {
    for (const t of this.inputs) if (t.stateOf !== null) this.#view(t).fill(0);
  }

  #run(arrays) {
    for (const name of Object.keys(arrays))
      if (!this.inputs.some((t) => t.name === name)) throw new Error(`there is no input ${name}: the model takes ${names(this.inputs)}`);
    for (const t of this.inputs) {
      const array = arrays[t.name];
      if (array === undefined && t.stateOf !== null) continue;
      if (array?.constructor !== TYPES[t.type] || array.length !== t.length)
        throw new Error(`input ${t.name} takes a ${TYPES[t.type].name} of ${t.length} elements (shape ${t.shape.join("x")})`);
      this.#view(t).set(array);
    }
    if (this.#wasm.kinglet_run() !== 0) throw new Error(`the plan stopped: ${this.#text()}`);
    return Object.fromEntries(this.outputs.map((t) => [t.name, this.#view(t).slice()]));
  }

  #view(t) {
    return new TYPES[t.type](this.#wasm.memory.buffer, t.at, t.length);
  }

  #text() {
    return this.#string(this.#wasm.kinglet_text(), this.#wasm.kinglet_text_len());
  }

  #string(at, length) {
    return new TextDecoder().decode(new Uint8Array(this.#wasm.memory.buffer, at >>> 0, length).slice());
  }

  #tensors(describe) {
    const found = [];
    for (let at; (at = describe(found.length) >>> 0) !== 0; ) {
      // Words of 32 bits: see `Tensor` in src/lib.rs.
      const words = new Uint32Array(this.#wasm.memory.buffer, at, 17).slice();
      const type = words[0];
      found.push({
        name: this.#string(words[14], words[15]),
        dtype: DTYPES[type],
        shape: Array.from(words.subarray(2, 2 + words[1])),
        scale: new Float32Array(words.buffer)[11],
        zeroPoint: words[12] | 0,
        stateOf: words[13] === 0 ? null : words[13] - 1,
        length: words[10] / TYPES[type].BYTES_PER_ELEMENT,
        type,
        at: words[16],
      });
    }
    return found;
  }
}

function names(tensors) {
  return tensors.map((t) => t.name).join(", ");
}
