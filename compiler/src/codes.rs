//! The codes of problems with models, their weights and what is given to compile them.

scnn_isa::codes! {
    CannotRead "E0101" "a file cannot be read" "The path does not exist, is a folder, or may not be read. Check the spelling and the permissions." remedy "check the path and its permissions";
    EmptyFile "E0103" "the file is empty" "An export or a download was cut off. Make the file again.";
    NotOnnx "E0104" "this is no ONNX model" "The bytes are not an ONNX ModelProto with a graph, or only the beginning of one. Weights alone (.pt, .safetensors), TensorFlow graphs and zip archives have to be exported to ONNX first.";
    CalibrationFile "E0109" "a calibration file is not of that form" "It is the YAML that `--save-calibration` writes: `source`, `samples`, `method`, and under `ranges` each tensor's `min`, `max` and `density`." remedy "give the YAML that `--save-calibration` writes";
    WidthsFile "E0110" "a file of widths is not of that form" "It is YAML with `network: 16` and, under `layers`, a width for each layer that differs: `conv1: 8`, `fc: w8a16`." remedy "give YAML as in `network: 16`, `layers: {conv1: 8}`";
    DensitiesFile "E0111" "a file of densities is not of that form" "It is the YAML that `--save-densities` writes: `pattern`, `default` and, under `layers`, the density of each." remedy "give the YAML that `--save-densities` writes";
    NothingToPrune "E0112" "there is nothing to prune" "Only constant weights of convolutions and matrix products that run on the array are pruned: floats, or integers behind a DequantizeLinear." remedy "`scnnc check` tells which nodes run on the array";
    ExternalData "E0302" "external data are missing" "The weights of this model lie in a file of their own, which has to be beside the model.";
    UnboundDimension "E0303" "a dimension has no value" "The model has symbolic dimensions. The batch is 1 unless said otherwise; give the others with `--dim NAME=VALUE`.";
    MissingTensor "E0304" "a tensor is used but never defined" "A node or output names a tensor that no node, input or initializer defines.";
    DuplicateName "E0305" "a tensor is defined twice" "ONNX is in single-assignment form: every tensor is the result of one node.";
    Cycle "E0306" "the graph has a cycle or is out of order" "ONNX asks for nodes in topological order; a node may use only what was computed before it.";
    Opset "E0307" "the operator set is too old or not named" "Operator sets from 6 on are read, and a file names the one of its operators: what they mean depends on it. Convert an old model with onnx.version_converter.";
    ZeroSize "E0309" "a tensor is empty" "A dimension is zero or negative, usually because the input is too small for the network.";
    DynamicShape "E0310" "a shape depends on data" "A program is compiled for fixed shapes; what depends on data stays with ONNX Runtime, where that is found, up to the outputs. Install it, or export the model without NonZero, NonMaxSuppression and the like, or cut it before them.";
    ShapeInference "E0311" "shapes cannot be inferred" "The model's operators and shapes contradict each other. onnx.checker and onnx.shape_inference tell more.";
    BadTensor "E0312" "a tensor is malformed" "An initializer or input has a type, shape or amount of data that is not possible.";
    FloatModel "E0313" "the float model does not run" "The model is run in floating point for calibration; tract could not do so and its message says why.";
    TooLarge "E0314" "a tensor is too large" "A tensor may have 2^31 elements. Dimensions beyond that are usually a damaged file, or a symbol that was bound to a wrong value.";
    BadAttribute "E0315" "an attribute is not possible" "The standard allows other values for it, which the message lists; a file that was exported has them, one that was edited may not.";
    OperandCount "E0316" "a node has too few or too many operands or results" "The standard says how many tensors each operator reads and computes; the message has both numbers. A file that was exported keeps to it, one that was edited or damaged may not.";
    OperatorMissing "E0317" "no runtime has an operator" "Neither the array nor a runtime of the host has this operator. ONNX Runtime has all of the standard and those of `com.microsoft`: `pip install onnxruntime` in the active virtual environment, or name its library with `--host-library FILE`.";
    OperandsMisfit "E0318" "operands of a node do not fit each other" "The extents of a node's operands, or of one of them and an attribute, contradict each other; the message has both. No runtime computes such a node. A file that was exported is not so, one that was edited, cut or bound to other dimensions may be.";
    NothingOnArray "E0401" "nothing would run on the array" "Every node of this model would run on the host, so a program would tell nothing about SCNN. `--allow-host-only` compiles it all the same.";
    DoesNotFit "E0402" "a layer does not fit the machine" "The message names the buffer and by how much it is too small; `scnnc machine show` tells its size.";
    CalibrationMissing "E0403" "a tensor cannot be quantised" "Its range is missing from the calibration, or its sums fit no accumulator. Calibrate again, or with more headroom.";
    HostRefused "E0404" "a node would run on the host" "`--no-host` was given, and these nodes have no place on the array.";
    BadMapping "E0405" "a mapping file is no mapping of this network" "It names other tensors or layers, or asks for something that the machine does not do; the message names the layer and, for a buffer, by how many bytes it is exceeded. `--save-mapping` writes a mapping that can be edited.";
    PassChanged "E0806" "a transform changes what the network computes" "A bug of scnnc: `--verify-passes` computed the network before and after every transform, and the message names the first that changed a value, and the tensor.";
}
