"""A rival in a process of its own: python3 rival.py onnxruntime|litert MODEL NAME=INPUT.npy ...

Prints a line of JSON when it is ready, or one that says why not. Then, for every line with a number, it runs so many inferences, on one
thread, and prints the processor time that they took, in nanoseconds.
"""
import json
import sys
import time


def onnxruntime(model, inputs):
    import onnxruntime
    import numpy

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {}
    for info, (name, value) in zip(session.get_inputs(), inputs):
        feeds[info.name] = dict(inputs).get(info.name, value)
    # Inputs and outputs are bound once, so that no run copies them.
    binding = session.io_binding()
    for name, value in feeds.items():
        binding.bind_cpu_input(name, numpy.ascontiguousarray(value))
    for info in session.get_outputs():
        binding.bind_output(info.name)
    run = lambda: session.run_with_iobinding(binding)
    run()
    return onnxruntime.__version__, run, binding.copy_outputs_to_cpu()[0]


def litert(model, inputs):
    import ai_edge_litert
    import numpy
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    for info, (_, value) in zip(interpreter.get_input_details(), inputs):
        shape = tuple(info["shape"])
        if value.shape != shape and value.ndim == 4:
            value = value.transpose(0, 2, 3, 1)
        if value.shape != shape:
            value = value.reshape(shape)
        if value.dtype != info["dtype"] and info["dtype"] != numpy.float32:
            scale, zero = info["quantization"]
            limits = numpy.iinfo(info["dtype"])
            value = numpy.clip(numpy.round(value / scale) + zero, limits.min, limits.max)
        interpreter.set_tensor(info["index"], numpy.ascontiguousarray(value.astype(info["dtype"])))
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return ai_edge_litert.__version__, interpreter.invoke, output


def main(rival, model, *arguments):
    try:
        import numpy

        inputs = [(name, numpy.load(path)) for name, path in (a.split("=", 1) for a in arguments)]
        version, run, output = {"onnxruntime": onnxruntime, "litert": litert}[rival](model, inputs)
        output = [float(v) for v in output.ravel()]
        print(json.dumps({"version": version, "output": output}), flush=True)
    except Exception as error:
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), flush=True)
        return
    for line in sys.stdin:
        count = int(line)
        start = time.process_time_ns()
        for _ in range(count):
            run()
        print(time.process_time_ns() - start, flush=True)


main(*sys.argv[1:])
