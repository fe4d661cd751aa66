"""Costs while weights are pruned: the compiler's own predictions, and the order of exact runs."""

import os
import threading

import numpy
import pytest

import scnnc

#: Random prunings of LeNet-5 whose exact runs are compared; `SCNNC_PRUNINGS` asks for more.
PRUNINGS = int(os.environ.get("SCNNC_PRUNINGS", "24"))


@pytest.fixture(scope="module")
def images(digits):
    return digits[0][:1]


@pytest.fixture(scope="module")
def mapping(tmp_path_factory):
    """Where the mapping is saved that the costs are for."""
    return tmp_path_factory.mktemp("cost") / "mapping.yaml"


@pytest.fixture(scope="module")
def cost(lenet, images, mapping):
    return scnnc.Cost(lenet, calibrate=images, save_mapping=mapping)


@pytest.fixture(scope="module")
def model(lenet):
    return pytest.importorskip("onnx").load(lenet)


@pytest.fixture(scope="module")
def own(model):
    """The weights of the model by their tensors' names."""
    numpy_helper = pytest.importorskip("onnx").numpy_helper
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def with_weights(model, weights):
    """The model with other weights."""
    onnx = pytest.importorskip("onnx")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name], tensor.name))
    return changed


def pruned(own, cost, generator, smallest):
    """Weights of which each layer loses a random share: the smallest, or any."""
    weights = {}
    for layer in cost.layers:
        values = own[layer["tensor"]].copy()
        left = numpy.flatnonzero(values)
        order = numpy.argsort(abs(values.reshape(-1)[left])) if smallest else generator.permutation(len(left))
        values.reshape(-1)[left[order[: int(len(left) * generator.uniform(0, 0.9))]]] = 0
        weights[layer["tensor"]] = values
    return weights


def activations(model, names, image):
    """What tensors of a model hold for an image, by ONNX Runtime."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    (given,) = (tensor for tensor in model.graph.input if tensor.name not in constants)
    known = {tensor.name for tensor in model.graph.output} | {given.name}
    for name in set(names) - known:
        watched.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    session = runtime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = [name for name in names if name != given.name]
    found = dict(zip(wanted, session.run(wanted, {given.name: image}) if wanted else []))
    return found | {given.name: image}


def rows(report):
    """The layers of a report on the array, as dictionaries."""
    layers = report.layers
    layers = layers if isinstance(layers, list) else layers.to_dict("records")
    return {layer["layer"]: layer for layer in layers}


def ranks(values):
    return numpy.argsort(numpy.argsort(values, kind="stable"), kind="stable")


def spearman(a, b):
    return numpy.corrcoef(ranks(a), ranks(b))[0, 1]


def test_the_model_s_own_weights_cost_what_the_compiler_predicted(cost, lenet, images, own):
    layers = rows(scnnc.compile(lenet, calibrate=images).run(images).report)
    predicted = {name: layer["predicted_cycles"] for name, layer in layers.items()}
    products = {name: layer["crossbar_transfers_events"] for name, layer in layers.items()}
    alone = cost()
    given = {layer["name"]: own[layer["tensor"]] for layer in cost.layers}
    masks = {layer["tensor"]: own[layer["tensor"]] != 0 for layer in cost.layers}
    for result in [alone, cost(given), cost(masks)]:
        assert result.cycles == predicted
        # The run is on the image that the activations are counted on.
        assert result.products == products
        assert result.energy_pj == alone.energy_pj
        assert result.total_cycles == sum(predicted.values())


def test_a_layer_s_mask_changes_that_layer_alone_and_is_forgotten(cost, own):
    before = cost()
    mask = own["conv2.weight"] != 0
    mask[:, ::2] = False
    after = cost({"conv2": mask})
    changed = {name for name in before.cycles if before.cycles[name] != after.cycles[name]}
    assert changed == {"/conv2/Conv"}
    assert after.energy_pj["/conv2/Conv"] < before.energy_pj["/conv2/Conv"]
    assert cost().cycles == before.cycles
    # Weights that come to life cost more.
    grown = cost({"conv2.weight": numpy.ones(mask.shape, bool)})
    assert grown.cycles["/conv2/Conv"] > before.cycles["/conv2/Conv"]
    nothing = cost({"conv2.weight": numpy.zeros(mask.shape, bool)})
    assert nothing.products["/conv2/Conv"] == 0


def test_arrays_of_any_kind_say_the_same(cost, own):
    values = own["fc1.weight"] * (numpy.arange(800) % 3 != 0)
    reference = cost({"fc1.weight": values})
    assert reference.cycles != cost().cycles
    mask = values != 0
    others = [
        mask,
        mask.astype(numpy.uint8),
        mask.tolist(),
        numpy.asfortranarray(values),
        values.astype(numpy.float64),
        numpy.repeat(values, 2, axis=0)[::2],
    ]
    for other in others:
        assert cost({"fc1.weight": other}).energy_pj == reference.energy_pj


def test_weights_that_round_to_zero_are_zeros(lenet, images, own):
    cost = scnnc.Cost(lenet, calibrate=images, bits=8)
    values = own["conv2.weight"].copy()
    left = numpy.flatnonzero(values[0])
    # Far below half of a 127th of the channel's largest.
    values[0].reshape(-1)[left[1:]] = 1e-5
    tiny = cost({"conv2": values})
    values[0].reshape(-1)[left[1:]] = 0
    assert tiny.cycles == cost({"conv2": values}).cycles


def test_costs_are_in_the_order_of_exact_runs(lenet, model, own, images, mapping):
    """Of the model with the pruned weights, compiled and run: so its activations change, too. What a cost says that does not
    know them, and one that observes them."""
    cost = scnnc.Cost(lenet, calibrate=images, save_mapping=mapping)
    before = activations(model, cost.activations, images)
    generator = numpy.random.default_rng(1)
    said, observed, same, other = [], [], [], []
    for number in range(PRUNINGS):
        weights = pruned(own, cost, generator, smallest=number % 2)
        changed = with_weights(model, weights)
        for told, values in [(said, before), (observed, activations(changed, cost.activations, images))]:
            cost.observe(values)
            result = cost(weights)
            told.append([result.total_cycles, result.total_energy_pj])
        for measured, options in [(same, {"mapping_file": mapping}), (other, {})]:
            program = scnnc.compile(changed, calibrate=images, **options)
            layers = rows(program.run(images).report).values()
            measured.append([sum(layer[of] for layer in layers) for of in ["total_cycles", "total_energy_pj"]])
    said, observed, same, other = map(numpy.transpose, [said, observed, same, other])
    cycles, energy, remapped = spearman(said[0], same[0]), spearman(said[1], same[1]), spearman(said[0], other[0])
    known = spearman(observed[0], same[0])
    print(
        f"{PRUNINGS} prunings, rank correlation: cycles {known:.4f} with activations observed, {cycles:.4f} without; "
        f"energy {energy:.4f}; remapped, cycles {remapped:.4f}"
    )
    assert known > 0.98 and cycles > 0.96 and energy > 0.99 and remapped > 0.95


def test_activations_that_are_observed_decide_the_cost(lenet, model, images):
    cost = scnnc.Cost(lenet, calibrate=images)
    before, values = cost(), activations(model, cost.activations, images)
    assert {name: of.size for name, of in values.items()} == cost.activations
    cost.observe(values)
    assert cost().cycles == before.cycles and cost().products == before.products
    (last,) = (name for name, of in values.items() if of.size == 500)
    cost.observe({last: numpy.zeros(500)})
    assert cost().products["/fc2/Gemm"] == 0 and not cost.products("fc2").any()
    assert cost().cycles["/conv1/Conv"] == before.cycles["/conv1/Conv"]
    with pytest.raises(scnnc.RefusedError):
        cost.observe({"nothing": images})
    with pytest.raises(scnnc.UsageError):
        cost.observe({last: numpy.zeros(499)})


def test_a_layer_s_costs_are_in_the_order_of_exact_runs_where_its_input_stays(cost, model, own, images, mapping):
    generator = numpy.random.default_rng(2)
    for layer in cost.layers:
        said, measured = [], []
        (name,) = layer["layers"]
        for number in range(PRUNINGS // 4):
            tensor = layer["tensor"]
            weights = {tensor: pruned(own, cost, generator, smallest=number % 2)[tensor]}
            said.append([cost(weights).cycles[name], cost(weights).energy_pj[name]])
            program = scnnc.compile(with_weights(model, weights), calibrate=images, mapping_file=mapping)
            row = rows(program.run(images).report)[name]
            measured.append([row["total_cycles"], row["total_energy_pj"]])
        cycles, energy = (spearman(*columns) for columns in zip(numpy.transpose(said), numpy.transpose(measured)))
        print(f"{name}, {PRUNINGS // 4} prunings, rank correlation: cycles {cycles:.4f}, energy {energy:.4f}")
        assert cycles > 0.92 and energy > 0.92, name


def alone(model, node, image):
    """A model of one convolution and its ReLU, on an image that it reads; and its weights."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = [tensor for tensor in model.graph.initializer if tensor.name in node.input]
    value = lambda name, shape: helper.make_tensor_value_info(name, 1, shape)
    relu = helper.make_node("Relu", [node.output[0]], ["result"], "relu")
    graph = helper.make_graph(
        [node, relu], "layer", [value(node.input[0], image.shape)], [value("result", None)], weights
    )
    opsets = [opset for opset in model.opset_import if opset.domain == ""]
    layer = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return layer, {tensor.name: numpy_helper.to_array(tensor) for tensor in weights}


@pytest.mark.parametrize("network", ["squeezenet", "resnet50"])
def test_costs_of_a_larger_network_s_layers_are_in_the_order_of_exact_runs(network, tmp_path):
    """Of convolutions that are drawn from it, each on what it reads in the network."""
    onnx = pytest.importorskip("onnx")
    model, image = scnnc.zoo.make(network)
    model = onnx.load_from_string(model)
    generator = numpy.random.default_rng(3)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    count = max(3, PRUNINGS // 15)
    nodes = [convolutions[number] for number in sorted(generator.choice(len(convolutions), count, replace=False))]
    read = activations(model, list(dict.fromkeys(node.input[0] for node in nodes)), image)
    pairs = []
    for node in nodes:
        given = read[node.input[0]]
        layer, own = alone(model, node, given)
        mapping = tmp_path / f"{len(pairs)}.yaml"
        cost, of_layer = scnnc.Cost(layer, calibrate=given, save_mapping=mapping), []
        for number in range(10):
            weights = pruned(own, cost, generator, smallest=number % 2)
            changed = with_weights(layer, weights)
            cost.observe(activations(changed, cost.activations, given))
            result = cost(weights)
            program = scnnc.compile(changed, calibrate=given, mapping_file=mapping)
            (row,) = rows(program.run(given).report).values()
            of_layer.append([result.total_cycles, row["total_cycles"], result.total_energy_pj, row["total_energy_pj"]])
        pairs.append(numpy.transpose(of_layer))
    cycles = [spearman(predicted, measured) for predicted, measured, _, _ in pairs]
    energy = [spearman(predicted, measured) for _, _, predicted, measured in pairs]
    print(
        f"{network}, {10 * count} prunings of {count} layers, rank correlation within a layer: cycles {numpy.mean(cycles):.4f} "
        f"on average, at least {min(cycles):.4f} ({nodes[int(numpy.argmin(cycles))].name}); energy {numpy.mean(energy):.4f}, "
        f"at least {min(energy):.4f}"
    )
    assert numpy.mean(cycles) > 0.98 and numpy.mean(energy) > 0.98


def test_products_of_weights_are_those_that_land(cost, own):
    counted = cost().products
    for layer in cost.layers:
        products = cost.products(layer["name"])
        assert products.shape == own[layer["tensor"]].shape
        (name,) = layer["layers"]
        assert products[own[layer["tensor"]] != 0].sum() == counted[name]
        assert (products == products[:1]).all()
    with pytest.raises(scnnc.RefusedError):
        cost.products("conv3")


def test_the_next_zeros_have_the_value_of_making_them(cost, own):
    result = cost({"fc1": own["fc1.weight"]})
    marginal = {layer["name"]: layer for layer in result.marginal(0.05)}
    assert list(marginal) == [layer["name"] for layer in cost.layers]
    for layer in cost.layers:
        values = own[layer["tensor"]].copy()
        left = numpy.flatnonzero(values)
        found = marginal[layer["name"]]
        assert found["zeros"] == int(len(left) * 0.05 + 0.5)
        order = numpy.argsort(abs(values.reshape(-1)[left]), kind="stable")
        values.reshape(-1)[left[order[: found["zeros"]]]] = 0
        then = cost({layer["tensor"]: values})
        saved = result.total_energy_pj - then.total_energy_pj
        assert found["pj_per_zero"] * found["zeros"] == pytest.approx(saved)
        saved = result.total_cycles - then.total_cycles
        assert found["cycles_per_zero"] * found["zeros"] == pytest.approx(saved)
        by_output = numpy.count_nonzero(own[layer["tensor"]].reshape(layer["shape"][0], -1), axis=1)
        products = sum(result.products[name] for name in layer["layers"])
        assert found["products_per_zero"] @ by_output == pytest.approx(products)
    drawn = [result.marginal(0.05, random=True, seed=seed) for seed in [1, 1, 2]]
    energies = [[layer["pj_per_zero"] for layer in each] for each in drawn]
    assert energies[0] == energies[1] != energies[2]
    nothing = cost({"fc2": numpy.zeros([10, 500], bool)}).marginal()
    assert nothing[-1]["zeros"] == 0 and nothing[-1]["pj_per_zero"] == 0


def test_what_does_not_fit_is_refused(cost, own, tiny):
    with pytest.raises(scnnc.RefusedError, match="conv3") as caught:
        cost({"conv3": own["conv2.weight"]})
    assert caught.value.code == "E0108" and "did you mean" in caught.value.remedy
    for weights in [
        {"conv2": own["conv1.weight"]},
        {"fc1": own["fc1.weight"].T},
        {"conv1": own["conv1.weight"], "conv1.weight": own["conv1.weight"]},
        {"conv1": own["conv1.weight"].astype(complex)},
    ]:
        with pytest.raises(scnnc.UsageError):
            cost(weights)
    with pytest.raises(scnnc.UsageError, match=r"\[500, 800\]"):
        cost({"fc1": own["fc1.weight"].T})
    for part in [0, -1, 1.5, float("nan"), "much"]:
        with pytest.raises(scnnc.UsageError):
            cost().marginal(part)
    with pytest.raises(scnnc.UsageError):
        scnnc.Cost(tiny, prun=0.4)
    with pytest.raises(TypeError):
        scnnc.CostResult()


def test_a_model_without_weights_is_refused():
    helper = pytest.importorskip("onnx").helper
    value = lambda name: helper.make_tensor_value_info(name, 1, [1, 4, 6, 6])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(scnnc.RefusedError) as caught:
        scnnc.Cost(model, calibrate=numpy.ones([1, 4, 6, 6], numpy.float32))
    assert caught.value.code == "E0112"


def test_orders_of_weights_are_those_of_the_operators():
    """Zeros of an output channel are found in it, whichever way its operator reads its weights."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    values = numpy.random.default_rng(3)
    image = numpy.abs(values.normal(size=[1, 4, 6, 6])).astype(numpy.float32)
    cases = {
        "Conv": ([6, 2, 3, 3], {"group": 2}, [1, 6, 4, 4], 0),
        "ConvTranspose": ([4, 3, 3, 3], {"group": 2}, [1, 6, 8, 8], None),
        "Gemm": ([144, 5], {}, [1, 5], 1),
        "MatMul": ([144, 5], {}, [1, 5], 1),
    }
    for operator, (shape, attributes, out, axis) in cases.items():
        weight = values.normal(size=shape).astype(numpy.float32)
        nodes, into = [], "x"
        if len(shape) == 2:
            nodes.append(helper.make_node("Flatten", ["x"], ["flat"]))
            into = "flat"
        nodes.append(helper.make_node(operator, [into, "w"], ["y"], name="node", **attributes))
        value = lambda name, extents: helper.make_tensor_value_info(name, 1, extents)
        graph = helper.make_graph(
            nodes, "g", [value("x", list(image.shape))], [value("y", out)], [numpy_helper.from_array(weight, "w")]
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        cost = scnnc.Cost(model, calibrate=image)
        assert not cost.left_out, operator
        mask = values.random(shape) < 0.5
        masked = with_weights(model, {"w": weight * mask})
        program = scnnc.compile(masked, calibrate=image)
        layers = rows(program.run(image).report)
        counted = {name: layer["crossbar_transfers_events"] for name, layer in layers.items()}
        products = cost({"w": mask}).products
        assert {name: counted[name] for name in products} == products, operator
        if axis is not None:
            # Of one output channel alone, the marginal value is that channel's.
            only = numpy.zeros(shape, bool)
            only[(slice(None),) * axis + (2,)] = True
            (layer,) = cost({"w": only}).marginal()
            assert numpy.flatnonzero(layer["products_per_zero"]).tolist() == [2], operator


def test_threads_share_a_cost(cost, own):
    masks = [own["fc1.weight"] * (numpy.arange(800) % k != 0) for k in [2, 3, 5]]
    alone = [cost({"fc1": mask}).cycles for mask in masks]
    found = [None] * 12

    def ask(number):
        found[number] = cost({"fc1": masks[number % 3]}).cycles

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone * 4
