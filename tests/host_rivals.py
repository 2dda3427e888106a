"""Our int8 plans beside LiteRT with XNNPACK and ONNX Runtime, by turns, one thread, on one core (docs/host.md).

    pip install onnxruntime ai-edge-litert numpy
    cargo build --release -p kinglet --features std --example time_plan
    KINGLET_ZOO=../shared python tests/host_rivals.py target/release/examples/time_plan PLANS [rounds]

PLANS is a folder with a plan for each model, `NAME.kinglet`. Prints ours by the better rival: of medians, of least times.
"""

import os
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

MODELS = {
    "resnet8": "resnet8_cifar10",
    "kws": "kws_dscnn",
    "vww": "vww_mobilenet_v1_025",
    "ad": "ad_autoencoder",
    "person": "person_detect",
    "mnv2": "mobilenet_v2_int8",
}


def litert(folder):
    # The original of this one has an axis that LiteRT refuses.
    biases = os.path.join(folder, "source_int8_biasaxis0.tflite")
    path = biases if os.path.exists(biases) else os.path.join(folder, "source_int8.tflite")
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    x = interpreter.get_input_details()[0]
    values = np.random.default_rng(0).integers(-128, 128, x["shape"])
    interpreter.set_tensor(x["index"], values.astype(x["dtype"]))
    return interpreter.invoke


def onnx_runtime(folder):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    path = os.path.join(folder, "model_int8.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = session.get_inputs()[0]
    shape = [1 if isinstance(d, str) else d for d in x.shape]
    dtype = np.int8 if x.type == "tensor(int8)" else np.float32
    values = np.random.default_rng(0).integers(-128, 128, shape).astype(dtype)
    binding = session.io_binding()
    binding.bind_cpu_input(x.name, values)
    for y in session.get_outputs():
        binding.bind_output(y.name)
    return lambda: session.run_with_iobinding(binding)


def median(run, count):
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def main(timer, plans, rounds=9):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    zoo = os.path.join(os.environ["KINGLET_ZOO"], "models")
    for name, folder in MODELS.items():
        rivals = {
            "LiteRT": litert(os.path.join(zoo, folder)),
            "ONNX Runtime": onnx_runtime(os.path.join(zoo, folder)),
        }
        plan = os.path.join(plans, name + ".kinglet")
        count = max(9, int(100_000 / median(rivals["LiteRT"], 20)))
        times = {"ours": []} | {rival: [] for rival in rivals}
        for _ in range(int(rounds)):
            ours = subprocess.run([timer, plan, str(count)], capture_output=True, text=True, check=True)
            times["ours"].append(float(ours.stdout))
            for rival, run in rivals.items():
                times[rival].append(median(run, count))
        def ratio(of):
            return of(times["ours"]) / min(of(times[rival]) for rival in rivals)
        print(f"{name} {ratio(statistics.median):.2f} {ratio(min):.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
