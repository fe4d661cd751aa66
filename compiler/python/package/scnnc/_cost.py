"""Costs of a network while its weights are pruned."""

import json

from . import _native
from ._calls import Listener, calibration, model as model_source, words
from ._errors import UsageError
from ._machine import chosen


class Cost:
    """What a network costs for any zeros of its weights: cycles and energy by layer, in a training loop.

        cost = scnnc.Cost("net.onnx", machine="scnn", calibrate=images)
        for layer in cost.layers:
            print(layer["name"], layer["shape"], layer["density"])
        result = cost({"conv1": mask})          # bool, of the shape of conv1's weights
        print(result.total_cycles, result.total_energy_pj)

    The model is compiled once; ``model``, ``machine``, ``calibrate``, ``progress`` and ``options`` are as in ``compile``,
    and so is what is raised. A call predicts the layers whose non-zeros changed with the mapper's cost model. The mapping,
    the scales and the zeros of activations stay those of the weights that the model was compiled with; ``observe`` counts the
    zeros of activations anew.
    """

    def __init__(self, model, *, machine=None, calibrate=None, progress=None, **options):
        native_machine, machine_words = chosen(machine)
        inputs = calibration(calibrate, options)
        with Listener(progress) as listener:
            self._native = _native.cost(
                model_source(model), machine_words + words(options), native_machine, inputs, listener
            )
        said = json.loads(self._native.layers())
        self._layers, self._left_out = said["layers"], said["left_out"]
        self._activations = said["activations"]

    @property
    def layers(self):
        """The tensors of weights that can be given: a list of dictionaries.

        ``name`` is the ONNX node, ``tensor`` its tensor of weights, ``shape`` the tensor's, ``density`` the share of
        non-zeros in the model, 0 to 1, and ``layers`` the program's layers that multiply with it.
        """
        return [dict(layer) for layer in self._layers]

    @property
    def left_out(self):
        """Names of nodes whose weights cannot be given: a transform permutes or combines them."""
        return list(self._left_out)

    def __call__(self, weights=None):
        """The cost with some weights at zero.

        ``weights`` is a dictionary; a key is a layer's ``name``, its ``tensor``, or a part of either between slashes. A
        value is a mask, an array of bool or integers that are not 0 where a weight stays, or the weights themselves,
        an array of floats; its shape is the layer's. Layers that are not in it have the model's own weights. Arrays of
        bool and float32 in row-major order are read where they lie. Of floats those are zero that the machine rounds to
        zero.

        Returns a CostResult. Raises RefusedError for a name that there is not, UsageError for another shape.
        """
        given = {} if weights is None else {name: _array(value) for name, value in weights.items()}
        return CostResult._of(self._native, given)

    @property
    def activations(self):
        """The tensors of activations whose zeros decide the cost: a dictionary from ONNX name to the number of elements."""
        return dict(self._activations)

    def observe(self, values):
        """Counts the zeros of activations anew, which change when weights are pruned or trained.

        ``values`` is a dictionary from names of ``activations`` to arrays of floats, in the model's own layout: what the
        tensors hold for one sample, as PyTorch's hooks or an ONNX Runtime session with these outputs tell. Tensors that are
        not in it stay as they are. Costs that were returned before keep their values. Raises RefusedError for a name that
        there is not, UsageError for another number of elements.
        """
        import numpy

        self._native.observe({name: numpy.ascontiguousarray(of, numpy.float32) for name, of in values.items()})

    def products(self, name):
        """The products that each weight of a tensor takes part in, and that land in an accumulator.

        ``name`` is a layer's ``name`` or ``tensor``, as in a call. Returns a numpy array of uint64 in the shape of the weights:
        the activations that are not zero and that the weight meets inside the plane, on the first calibration sample. It is
        what a zero at that place saves of a kernel, whatever other weights there are; of weights in several layers, in all
        of them. Raises RefusedError for a name that there is not.
        """
        shape, products = self._native.products(name)
        return products.reshape(shape)

    def __repr__(self):
        return f"<scnnc.Cost of {len(self._layers)} layers>"


class CostResult:
    """Cycles and energy by layer, predicted; a Cost makes it.

    ``cycles``, ``energy_pj`` (picojoules) and ``products`` (those of two non-zeros that land in an accumulator) are
    dictionaries by layer of the program. The energy is that which depends on the mapping or on zeros of weights: DRAM,
    weight FIFOs, reads of activations, multipliers, halos, crossbars, accumulators; that of PPUs, of written
    activations and of the host link is not in it.
    """

    def __init__(self):
        raise TypeError("a scnnc.Cost makes results")

    @classmethod
    def _of(cls, native, given):
        result = cls.__new__(cls)
        result._native, result._given = native, given
        costs = native.cost(given)
        result.cycles = {name: cycles for name, cycles, _, _ in costs}
        result.energy_pj = {name: energy for name, _, energy, _ in costs}
        result.products = {name: products for name, _, _, products in costs}
        return result

    @property
    def total_cycles(self):
        """Cycles of all layers on the array."""
        return sum(self.cycles.values())

    @property
    def total_energy_pj(self):
        """Energy of all layers on the array, picojoules."""
        return sum(self.energy_pj.values())

    def marginal(self, part=0.02, *, random=False, seed=1):
        """What the next zeros of each layer save, beside those that there are.

        ``part`` is the share of a layer's weights that become zero, above 0 and at most 1: the smallest, or any with
        ``random`` by ``seed``. Where a mask was given, the smallest are those of the model's own weights. The arrays
        that the cost was asked for are read again.

        Returns a list of dictionaries: ``name``, ``zeros`` (how many were tried), ``cycles_per_zero``, ``pj_per_zero`` and
        ``products_per_zero``, a numpy array ``[K]`` with the products that a zero in each output channel saves on
        average. ``cycles_per_zero`` is 0 or less where DRAM or the busiest PE takes the time. Raises UsageError for
        another ``part``.
        """
        import numpy

        if isinstance(part, bool) or not isinstance(part, (int, float)):
            raise UsageError("`part` is a number above 0 and at most 1")
        found = json.loads(self._native.marginal(self._given, float(part), int(seed) if random else None))
        for layer in found:
            layer["products_per_zero"] = numpy.array(layer["products_per_zero"])
        return found

    def __repr__(self):
        return f"<scnnc.CostResult {self.total_cycles} cycles, {self.total_energy_pj / 1e6:.3f} uJ>"


def _array(value):
    import numpy

    if hasattr(value, "detach"):
        value = value.detach()
    array = numpy.asarray(value)
    if array.dtype.kind in "iu":
        array = array != 0
    elif array.dtype != numpy.bool_:
        if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
            raise UsageError(f"masks are arrays of bool or integers, weights of floats, not of {array.dtype}")
        array = array.astype(numpy.float32, copy=False)
    return numpy.asarray(array, order="C")
