"""A small convolutional network in numpy, trained on scikit-learn's digits: what the tests of pruning and the notebooks prune.

The digits (1,797 images of 8 x 8) come in three parts that share no image: 1,000 to train on, 397 to choose by, 400 to judge by.
"""

import numpy

#: By layer: the tensor of weights and its shape. Convolutions of 3 x 3, then matrices.
SHAPES = {
    "conv1.weight": (16, 1, 3, 3),
    "conv2.weight": (32, 16, 3, 3),
    "conv3.weight": (64, 32, 3, 3),
    "fc1.weight": (64, 256),
    "fc2.weight": (10, 64),
}

#: Behind these, the largest of 2 x 2.
POOLED = {"conv2.weight", "conv3.weight"}


def digits(seed):
    """Images `[N, 1, 8, 8]` of 0 to 1 and their labels, of each part: training, validation, test. The test's are the same for
    every seed."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(numpy.float32).reshape(-1, 1, 8, 8)
    order = numpy.random.default_rng(0).permutation(len(images))
    test, rest = order[:400], order[400:]
    rest = numpy.random.default_rng(seed).permutation(rest)
    return [(images[part], labels[part]) for part in (rest[:1000], rest[1000:], test)]


class Network:
    """Weights, biases and the masks of the weights; trained by Adam."""

    def __init__(self, seed):
        self._random = numpy.random.default_rng(seed)
        self.weights, self.masks = {}, {}
        for name, shape in SHAPES.items():
            scale = (2 / numpy.prod(shape[1:])) ** 0.5
            self.weights[name] = self._random.normal(0, scale, shape).astype(numpy.float32)
            self.weights[bias_of(name)] = numpy.zeros(shape[0], numpy.float32)
        self._moments = {name: [numpy.zeros_like(of), numpy.zeros_like(of)] for name, of in self.weights.items()}
        self._steps = 0

    def copy(self):
        """The same network, to be pruned in another way: it is trained further in the same order."""
        import copy

        return copy.deepcopy(self)

    def train(self, images, labels, epochs, rate=1e-3, batch=50):
        """Trains; what the masks leave out stays zero."""
        for _ in range(epochs):
            order = self._random.permutation(len(images))
            for at in range(0, len(images), batch):
                part = order[at : at + batch]
                self._adam(self._gradients(images[part], labels[part]), rate)

    def prune(self, masks):
        """Sets what the masks leave out to zero."""
        self.masks = masks
        for name, mask in masks.items():
            self.weights[name] = self.weights[name] * mask

    def with_weights(self, weights):
        """A network to be asked alone, with some other weights."""
        other = Network.__new__(Network)
        other.weights = {**self.weights, **weights}
        return other

    def accuracy(self, images, labels):
        """The share of images that are recognised."""
        return float((self._forward(images)[0].argmax(1) == labels).mean())

    def loss(self, images, labels):
        """The mean cross-entropy."""
        scores, _ = self._forward(images)
        scores = scores - scores.max(1, keepdims=True)
        return float((numpy.log(numpy.exp(scores).sum(1)) - scores[numpy.arange(len(scores)), labels]).mean())

    def onnx(self, batch=1):
        """The network as an onnx.ModelProto for `batch` images, a number or the name of any number."""
        from onnx import TensorProto, helper, numpy_helper

        nodes, tensor = [], "image"

        def add(operator, name, operands=(), **attributes):
            nonlocal tensor
            nodes.append(helper.make_node(operator, [tensor, *operands], [name], name, **attributes))
            tensor = name

        for name in SHAPES:
            layer, operands = name.split(".")[0], [name, bias_of(name)]
            if layer.startswith("conv"):
                add("Conv", layer, operands, pads=[1] * 4)
            else:
                if layer == "fc1":
                    add("Flatten", "flat")
                add("Gemm", layer, operands, transB=1)
            if layer != "fc2":
                add("Relu", f"{layer}.relu")
            if name in POOLED:
                add("MaxPool", f"{layer}.pool", kernel_shape=[2, 2], strides=[2, 2])
        value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        weights = [numpy_helper.from_array(of, name) for name, of in self.weights.items()]
        graph = helper.make_graph(
            nodes, "digits", [value("image", [batch, 1, 8, 8])], [value(tensor, [batch, 10])], weights
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _forward(self, images):
        """The scores; and by layer, what it multiplies with and its result, before any pooling."""
        seen = {}
        for name in SHAPES:
            weight, bias = self.weights[name], self.weights[bias_of(name)]
            if weight.ndim == 4:
                read, result = convolve(images, weight, bias)
            else:
                read = images.reshape(len(images), -1)
                result = read @ weight.T + bias
            images = result = result if name == "fc2.weight" else numpy.maximum(result, 0)
            seen[name] = read, result
            if name in POOLED:
                count, channels, height, width = result.shape
                images = result.reshape(count, channels, height // 2, 2, width // 2, 2).max((3, 5))
        return images, seen

    def _gradients(self, images, labels):
        """Of the mean cross-entropy."""
        scores, seen = self._forward(images)
        likely = numpy.exp(scores - scores.max(1, keepdims=True))
        back = likely / likely.sum(1, keepdims=True)
        back[numpy.arange(len(images)), labels] -= 1
        back, found = back / len(images), {}
        larger = lambda plane: numpy.repeat(numpy.repeat(plane, 2, 2), 2, 3)
        for name in reversed(SHAPES):
            weight, (read, result) = self.weights[name], seen[name]
            if name in POOLED:
                # To the largest of four.
                count, channels, height, width = result.shape
                largest = result.reshape(count, channels, height // 2, 2, width // 2, 2).max((3, 5))
                back = larger(back.reshape(largest.shape)) * (larger(largest) == result)
            if name != "fc2.weight":
                back = back.reshape(result.shape) * (result > 0)
            rows = back if weight.ndim == 2 else back.transpose(0, 2, 3, 1).reshape(-1, len(weight))
            found[name], found[bias_of(name)] = (rows.T @ read).reshape(weight.shape), rows.sum(0)
            if weight.ndim == 2:
                back = back @ weight
            elif name != "conv1.weight":
                # A convolution with the kernels reversed.
                back = convolve(back, numpy.ascontiguousarray(weight[:, :, ::-1, ::-1].swapaxes(0, 1)), 0)[1]
        return found

    def _adam(self, gradients, rate):
        self._steps += 1
        for name, gradient in gradients.items():
            mean, square = self._moments[name]
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            mean_now, square_now = mean / (1 - 0.9**self._steps), square / (1 - 0.999**self._steps)
            weight = self.weights[name] - rate * mean_now / (numpy.sqrt(square_now) + 1e-8)
            self.weights[name] = weight * self.masks[name] if name in self.masks else weight


def bias_of(name):
    return name.replace("weight", "bias")


def convolve(images, weight, bias):
    """A convolution of 3 x 3 with as large a result: the patches that it multiplies, and the result."""
    count, channels, height, width = images.shape
    padded = numpy.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = numpy.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(count * height * width, channels * 9)
    result = patches @ weight.reshape(len(weight), -1).T + bias
    return patches, result.reshape(count, height, width, -1).transpose(0, 3, 1, 2)


def uniform_masks(weights, density):
    """Masks by magnitude, of one density for all layers."""
    masks = {}
    for name in SHAPES:
        magnitude = abs(weights[name])
        keep = max(1, round(magnitude.size * density))
        masks[name] = magnitude >= numpy.partition(magnitude.reshape(-1), -keep)[-keep]
    return masks
