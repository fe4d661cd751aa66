"""Runs each FOLDER/*/model.onnx in ONNX Runtime on the input.npy beside it and writes output.npy, output0.npy, ..."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 4
# What it fuses may round otherwise.
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
for model in Path(sys.argv[1]).glob("*/model.onnx"):
    sample = {"x": np.load(model.with_name("input.npy"))}
    try:
        session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        results = session.run(None, sample)
    except Exception as error:
        raise SystemExit(f"{model}: {error}")
    np.save(model.with_name("output.npy"), results[0])
    for index, result in enumerate(results):
        np.save(model.with_name(f"output{index}.npy"), result)
