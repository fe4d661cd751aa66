"""Gradual pruning for the machine's cycles: the next weight to go is the one that costs least accuracy per cycle saved.

    cost = scnnc.Cost("net.onnx", calibrate=images)
    pruner = scnnc.prune.Pruner(cost, target=0.3, steps=10)      # to 30 % of the cycles in ten steps
    while not pruner.done:
        importance = scnnc.prune.measured(weights, loss)         # what accuracy each weight is worth
        masks = pruner.step(weights, importance)                 # numpy, by the tensors' names
        weights = train_some_more(weights, masks)                # what a mask leaves out stays zero

A ``Pruner`` knows numpy alone. ``TorchPruner`` does the same inside a PyTorch training loop; PyTorch is imported when one is
made.
"""

from ._errors import UsageError

__all__ = ["Pruner", "TorchPruner", "lamp", "measured"]

#: Share of a layer's weights whose removal tells what a zero in it saves: fewer are lost in the barrier between PEs.
PART = 0.05


class Pruner:
    """Prunes a network step by step until it takes a part of its cycles.

    ``cost`` is the network's ``scnnc.Cost``. ``target`` is the share of the cycles of the first step's weights to end
    with, above 0 and below 1; the ``steps`` on the way take less each (by the third power, as in Zhu and Gupta, "To
    prune, or not to prune", 2017). Of each layer at least ``keep`` stays, a share of its weights. ``layers`` are names of the
    tensors that may be pruned, all where it is left out.

    Raises UsageError for shares out of range and for a tensor that ``cost`` does not have.
    """

    def __init__(self, cost, *, target, steps, keep=0.01, layers=None):
        if not 0 < target < 1 or not 0 < keep <= 1 or steps < 1:
            raise UsageError("`target` lies between 0 and 1, `keep` above 0 and at most at 1, and `steps` is at least 1")
        tensors = {layer["tensor"]: layer for layer in cost.layers}
        unknown = sorted(set(layers or ()) - set(tensors))
        if unknown:
            raise UsageError(f"there are no weights {unknown}; there are {sorted(tensors)}")
        self._cost, self._target, self._steps, self._keep = cost, target, steps, keep
        self._shapes = {name: tuple(layer["shape"]) for name, layer in tensors.items()}
        self._pruned = [name for name in tensors if layers is None or name in layers]
        self._products = {name: cost.products(name) for name in self._pruned}
        self._step, self._first, self._result, self._masks = 0, None, None, {}

    @property
    def masks(self):
        """Which weights stay: arrays of bool by the tensors' names; none before the first step."""
        return dict(self._masks)

    @property
    def done(self):
        """Whether all steps were made."""
        return self._step >= self._steps

    @property
    def result(self):
        """The ``CostResult`` of the present masks; None before the first step."""
        return self._result

    @property
    def goal(self):
        """Cycles after the next step, or after the last one when all were made."""
        left = 1 - min(self._step + 1, self._steps) / self._steps
        return self._first and self._first * (self._target + (1 - self._target) * left**3)

    def step(self, weights, importance=None):
        """Prunes to the cycles of the next step; returns the masks of all tensors that may be pruned.

        ``weights`` are the present ones, arrays by the tensors' names; the names of others are passed over. ``importance``
        says what accuracy each weight is worth, an array of the weights' shape by the same names, in one unit for all
        layers: ``measured``, or ``lamp`` of each where it is left out. What is zero stays zero.

        Raises UsageError for weights that are missing or of another shape, and where the goal is out of reach because
        something else than weights takes the cycles; the masks then stay as they are.
        """
        weights = {name: self._checked(name, weights) for name in self._pruned}
        if importance is None:
            importance = {name: lamp(weight) for name, weight in weights.items()}
        alive = {name: weight != 0 for name, weight in weights.items()}
        if self._first is None:
            self._first = self._cost(alive).total_cycles
        goal, order = self.goal, self._ranked(alive, importance)
        floor = self._cost(_without(alive, order)).total_cycles
        if floor > goal:
            raise UsageError(
                f"a step to {goal:.0f} cycles is out of reach: with {self._keep:.0%} of each layer's weights there are {floor}"
            )
        # The fewest of them that reach the goal.
        least, most = 0, len(order)
        while least < most:
            middle = (least + most) // 2
            if self._cost(_without(alive, order[:middle])).total_cycles <= goal:
                most = middle
            else:
                least = middle + 1
        self._masks = _without(alive, order[:least])
        self._result = self._cost(self._masks)
        self._step += 1
        return self.masks

    def _checked(self, name, weights):
        import numpy

        if name not in weights:
            raise UsageError(f"the weights `{name}` are missing")
        weight = numpy.asarray(weights[name])
        if weight.shape != self._shapes[name]:
            raise UsageError(f"the weights `{name}` have the shape {weight.shape}; the model's have {self._shapes[name]}")
        return weight

    def _ranked(self, alive, importance):
        """The weights that may go, from the one that is worth least for what it saves, as places in all tensors behind
        each other."""
        import numpy

        tensors = {layer["name"]: layer["tensor"] for layer in self._cost.layers}
        marginal = self._cost(alive).marginal(PART)
        saved = {tensors[layer["name"]]: layer["cycles_per_zero"] for layer in marginal}
        # A layer of which zeros save nothing, because DRAM or a drain takes the time, is the last to lose some.
        least = 1e-3 * max(*saved.values(), 1e-9)
        places, worths, first = [], [], 0
        for name, alive_of in alive.items():
            left = numpy.flatnonzero(alive_of)
            worth = numpy.broadcast_to(numpy.asarray(importance[name], numpy.float64), alive_of.shape).reshape(-1)[left]
            # Within a layer cycles follow the activations that a weight meets.
            met = self._products[name].reshape(-1)[left].astype(numpy.float64)
            met = numpy.maximum(met / max(met.mean() if len(met) else 1, 1e-9), 1e-3)
            may_go = numpy.argsort(worth, kind="stable")[: max(0, len(left) - self._least(alive_of.size))]
            places.append(first + left[may_go])
            worths.append(worth[may_go] / (max(saved[name], least) * met[may_go]))
            first += alive_of.size
        return numpy.concatenate(places)[numpy.argsort(numpy.concatenate(worths), kind="stable")]

    def _least(self, size):
        """Weights that stay of a layer of ``size``."""
        return -int(-self._keep * size // 1)


class TorchPruner:
    """A ``Pruner`` inside a PyTorch training loop.

        cost = scnnc.Cost("exported.onnx", calibrate=images)
        pruner = scnnc.prune.TorchPruner(module, optimizer, cost, target=0.3, steps=10)
        for number, (images, labels) in enumerate(batches):
            optimizer.zero_grad()
            loss(module(images), labels).backward()
            optimizer.step()                            # the masks are applied after it
            if number % 50 == 49 and not pruner.done:
                pruner.step(lambda: loss(module(held_images), held_labels))

    ``cost`` is of the exported ``module``. ``names`` are parameters by the tensors' names, for exporters that rename them;
    a tensor without one has the parameter of its own name. Tensors for which there is no parameter of the same shape are not
    pruned. ``target``, ``steps`` and ``keep`` are as in ``Pruner``.

    Raises UsageError where no parameter fits, or as ``Pruner`` does; ImportError without PyTorch.
    """

    def __init__(self, module, optimizer, cost, *, target, steps, keep=0.01, names=None):
        import torch

        self._torch, self._module = torch, module
        parameters, names = dict(module.named_parameters()), names or {}
        found = {}
        for layer in cost.layers:
            parameter = parameters.get(names.get(layer["tensor"], layer["tensor"]))
            if parameter is not None and list(parameter.shape) == layer["shape"]:
                found[layer["tensor"]] = parameter
        if not found:
            tensors = [layer["tensor"] for layer in cost.layers]
            raise UsageError(f"no parameter has the name and the shape of any of {tensors}; `names` says which they are")
        self._parameters, self._masks = found, {}
        self._pruner = Pruner(cost, target=target, steps=steps, keep=keep, layers=list(found))
        self._hook = optimizer.register_step_post_hook(lambda *_: self._apply())

    @property
    def done(self):
        """Whether all steps were made."""
        return self._pruner.done

    @property
    def result(self):
        """The ``CostResult`` of the present masks; None before the first step."""
        return self._pruner.result

    @property
    def masks(self):
        """Which weights stay: numpy arrays of bool by the tensors' names; none before the first step."""
        return self._pruner.masks

    def step(self, loss=None):
        """Prunes to the cycles of the next step.

        ``loss`` is called without arguments and returns the loss of the module as it is, a number or a tensor of one element,
        on the same samples each time: by it ``measured`` says what weights are worth. The module evaluates meanwhile, without
        gradients. Without a ``loss``, ``lamp`` does. Raises what ``Pruner.step`` does.
        """
        weights = {name: of.detach().cpu().numpy().copy() for name, of in self._parameters.items()}
        importance = None
        if loss is not None:
            trained = self._module.training
            self._module.eval()
            try:
                importance = measured(weights, lambda tried: self._loss(tried, loss))
            finally:
                self._set(weights)
                self._module.train(trained)
        masks = self._pruner.step(weights, importance)
        self._masks = {
            name: self._torch.from_numpy(mask).to(self._parameters[name].device) for name, mask in masks.items()
        }
        self._apply()

    def detach(self):
        """Leaves the optimizer alone from now on; the masks are no longer applied."""
        self._hook.remove()

    def _loss(self, weights, loss):
        self._set(weights)
        with self._torch.no_grad():
            return float(loss())

    def _set(self, weights):
        with self._torch.no_grad():
            for name, weight in weights.items():
                self._parameters[name].copy_(self._torch.from_numpy(weight))

    def _apply(self):
        with self._torch.no_grad():
            for name, mask in self._masks.items():
                self._parameters[name].mul_(mask)


def measured(weights, loss, *, shares=(0.9, 0.75, 0.5, 0.25, 0.1)):
    """What each weight is worth, measured: by how much the loss grows where a layer loses its smallest weights.

    ``weights`` are arrays by the tensors' names, and ``loss`` a function that returns the loss of the network with such
    weights, on samples that are trained on or held out, but not those that judge the result. Of each layer alone the smallest
    weights go until ``shares`` of them are left: as many calls for each layer, and one more. Between two shares weights are
    worth what the loss grew by, each by its square. Returns arrays of the same shapes, for ``Pruner.step``.
    """
    import numpy

    weights = {name: numpy.asarray(weight) for name, weight in weights.items()}
    before, found = loss(weights), {}
    for name, weight in weights.items():
        squares = numpy.square(weight.reshape(-1).astype(numpy.float64))
        left = numpy.flatnonzero(squares)
        order = left[numpy.argsort(squares[left], kind="stable")]
        ends = sorted({round(len(order) * (1 - share)) for share in shares} - {0})
        # Of each piece of the order: where it ends, and what the loss has grown by there; it does not shrink.
        grown = [0.0]
        for end in ends:
            tried = weight.copy()
            tried.reshape(-1)[order[:end]] = 0
            grown.append(max(grown[-1], float(loss({**weights, name: tried})) - before))
        worth = numpy.zeros(squares.shape)
        for begin, end, rate in _convex([0, *ends], grown):
            piece = order[begin:end]
            worth[piece] = _by_square(squares[piece], rate)
        # The rest, at least as much as the last piece, whose mean square it exceeds.
        rest, rate = order[ends[-1] if ends else 0 :], grown[-1] / max(ends[-1] if ends else 1, 1)
        worth[rest] = numpy.maximum(_by_square(squares[rest], rate), worth.max(initial=0))
        found[name] = worth.reshape(weight.shape)
    return found


def _convex(places, values):
    """Pieces of the largest convex function that is nowhere above `values` on average: begin, end, and growth by place."""
    pieces = []
    for begin, end, low, high in zip(places, places[1:], values, values[1:]):
        pieces.append((begin, end, (high - low) / (end - begin)))
        while len(pieces) > 1 and pieces[-2][2] > pieces[-1][2]:
            (begin, middle, first), (_, end, second) = pieces[-2:]
            rate = (first * (middle - begin) + second * (end - middle)) / (end - begin)
            pieces[-2:] = [(begin, end, rate)]
    return pieces


def _by_square(squares, rate):
    """`rate` for each on average, by their squares; next to nothing where it is none, but in their order."""
    mean = squares.mean() if len(squares) else 1
    return max(rate, 1e-12) * squares / max(mean, 1e-300)


def _without(alive, gone):
    """The masks ``alive`` without the places ``gone`` of all of them behind each other."""
    import numpy

    left = numpy.concatenate([mask.reshape(-1) for mask in alive.values()])
    left[gone] = False
    ends = numpy.cumsum([mask.size for mask in alive.values()])[:-1]
    parts = zip(alive.items(), numpy.split(left, ends))
    return {name: part.reshape(mask.shape) for (name, mask), part in parts}


def lamp(weight):
    """What each weight of a layer is worth by magnitude alone, comparable between layers: its square over the sum of the
    squares that are not less (Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", 2021).

    ``weight`` is an array; returns one of its shape.
    """
    import numpy

    squares = numpy.square(numpy.asarray(weight, numpy.float64)).reshape(-1)
    order = numpy.argsort(-squares, kind="stable")
    worth = numpy.empty_like(squares)
    sums = numpy.cumsum(squares[order])
    worth[order] = squares[order] / numpy.maximum(sums, numpy.finfo(numpy.float64).tiny)
    return worth.reshape(numpy.shape(weight))
