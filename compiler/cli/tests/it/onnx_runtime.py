"""Runs each FOLDER/*/model.onnx in ONNX Runtime on the input.npy beside it and writes output.npy."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

for model in Path(sys.argv[1]).glob("*/model.onnx"):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    sample = {"x": np.load(model.with_name("input.npy"))}
    np.save(model.with_name("output.npy"), session.run(None, sample)[0])
