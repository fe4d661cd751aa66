"""Pruning for cycles: its rules, and a network trained here against magnitude pruning at one density."""

import os

import numpy
import pytest

import scnnc

#: Networks that are trained and pruned both ways; `SCNNC_PRUNE_SEEDS` asks for more.
SEEDS = range(1, 1 + int(os.environ.get("SCNNC_PRUNE_SEEDS", "1")))

#: Images of the 397 to choose by, one in a hundred, that a pruned network may lose.
MOST_LOST = 4

#: Steps of pruning, each followed by an epoch, and epochs after the last.
STEPS, LAST = 10, 8


@pytest.fixture(scope="module")
def machine():
    """As small as the network: four PEs."""
    return scnnc.Machine("scnn", **{"array.rows": 2, "array.cols": 2})


@pytest.fixture
def cost(lenet, digits):
    return scnnc.Cost(lenet, calibrate=digits[0][:1])


@pytest.fixture
def own(lenet):
    onnx = pytest.importorskip("onnx")
    tensors = onnx.load(lenet).graph.initializer
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in tensors}


def test_steps_lead_to_the_target_and_what_is_zero_stays_zero(cost, own):
    pruner = scnnc.prune.Pruner(cost, target=0.8, steps=3)
    assert pruner.masks == {} and pruner.result is None and pruner.goal is None
    first, before = cost().total_cycles, {name: of != 0 for name, of in own.items()}
    while not pruner.done:
        goal = pruner.goal
        masks = pruner.step(own)
        assert set(masks) == {layer["tensor"] for layer in cost.layers}
        assert all((mask <= before[name]).all() for name, mask in masks.items())
        assert goal is None or pruner.result.total_cycles <= goal
        own = {name: of * masks.get(name, 1) for name, of in own.items()}
        before = masks
    assert 0.78 * first < pruner.result.total_cycles <= 0.8 * first
    assert cost(masks).cycles == pruner.result.cycles


def test_what_is_worth_little_for_its_cycles_goes_first(cost, own):
    importance = {name: numpy.ones(of.shape) for name, of in own.items()}
    importance["fc1.weight"][:, :400] = 1e-6
    masks = scnnc.prune.Pruner(cost, target=0.98, steps=1).step(own, importance)
    for name in ["conv1.weight", "conv2.weight", "fc2.weight"]:
        assert (masks[name] == (own[name] != 0)).all(), name
    assert (masks["fc1.weight"][:, 400:] == (own["fc1.weight"][:, 400:] != 0)).all()
    # Of weights that are worth the same, those go that meet most activations.
    gone = (own["fc1.weight"] != 0) & ~masks["fc1.weight"]
    products = cost.products("fc1")
    assert gone.any() and products[gone].min() >= products[masks["fc1.weight"][:, :400].nonzero()].max()


def test_layers_that_are_not_named_stay_and_each_keeps_its_share(cost, own):
    pruner = scnnc.prune.Pruner(cost, target=0.95, steps=1, keep=0.05, layers=["fc1.weight"])
    masks = pruner.step(own)
    assert list(masks) == ["fc1.weight"] and masks["fc1.weight"].mean() >= 0.05


def test_what_cannot_be_is_refused(cost, own):
    for options in [{"target": 1}, {"target": 0}, {"steps": 0}, {"keep": 0}, {"layers": ["conv9"]}]:
        with pytest.raises(scnnc.UsageError):
            scnnc.prune.Pruner(cost, **{"target": 0.5, "steps": 2, **options})
    pruner = scnnc.prune.Pruner(cost, target=0.01, steps=1)
    with pytest.raises(scnnc.UsageError, match="out of reach"):
        pruner.step(own)
    assert pruner.masks == {} and not pruner.done
    with pytest.raises(scnnc.UsageError, match="missing"):
        pruner.step({})
    with pytest.raises(scnnc.UsageError, match="shape"):
        pruner.step({**own, "fc1.weight": own["fc1.weight"].T})


def test_measured_worths_add_up_to_what_the_loss_grows_by():
    generator = numpy.random.default_rng(1)
    weights = {"a": generator.normal(size=[20, 5]), "b": generator.normal(size=[40])}
    dear = {"a": 10.0, "b": 1.0}
    loss = lambda of: sum(dear[name] * numpy.square(weights[name] - weight).sum() for name, weight in of.items())
    found = scnnc.prune.measured(weights, loss)
    for name, weight in weights.items():
        order = numpy.argsort(abs(weight.reshape(-1)))
        worth = found[name].reshape(-1)[order]
        for share in [0.9, 0.5, 0.1]:
            gone = round(len(order) * (1 - share))
            grown = dear[name] * numpy.square(weight.reshape(-1)[order[:gone]]).sum()
            assert worth[:gone].sum() == pytest.approx(grown, rel=1e-6)
        assert found[name].shape == weight.shape and worth[-1] == worth.max()


def test_lamp_is_the_square_over_what_is_not_less():
    assert scnnc.prune.lamp([[1.0, -2.0], [0.0, 3.0]]).tolist() == [[1 / 14, 4 / 13], [0, 1]]


def exact_cycles(network, machine, images):
    """Of an image, on average over some that are trained on."""
    program = scnnc.compile(network.onnx(), machine=machine, calibrate=images)
    totals = program.run(images).report.to_dict()["totals"]
    return totals["cycles"]["total"] / len(images)


def test_a_network_takes_fewer_cycles_than_by_magnitude_at_equal_accuracy(machine):
    """Both ways prune in as many steps with as much training. Of each the run counts that takes the fewest cycles and loses at
    most `MOST_LOST` of the validation images; the test images judge."""
    pytest.importorskip("sklearn")
    runtime = pytest.importorskip("onnxruntime")
    from digits_network import Network, digits, uniform_masks

    shares = []
    for seed in SEEDS:
        train, validation, test = digits(seed)
        dense = Network(seed)
        dense.train(*train, epochs=15)
        dense.train(*train, epochs=5, rate=3e-4)
        runs = {"uniform": [], "cycles": []}
        for final in [0.3, 0.22, 0.16]:
            network = dense.copy()
            for step in range(STEPS):
                density = final + (1 - final) * (1 - (step + 1) / STEPS) ** 3
                network.prune(uniform_masks(network.weights, density))
                network.train(*train, epochs=1)
            network.train(*train, epochs=LAST, rate=3e-4)
            runs["uniform"].append(network)
        for target in [0.26, 0.22, 0.16]:
            network = dense.copy()
            cost = scnnc.Cost(network.onnx(), machine=machine, calibrate=train[0][:1])
            pruner = scnnc.prune.Pruner(cost, target=target, steps=STEPS)
            while not pruner.done:
                weights = {layer["tensor"]: network.weights[layer["tensor"]] for layer in cost.layers}
                loss = lambda tried: network.with_weights(tried).loss(train[0][:500], train[1][:500])
                network.prune(pruner.step(weights, scnnc.prune.measured(weights, loss)))
                network.train(*train, epochs=1)
            network.train(*train, epochs=LAST, rate=3e-4)
            runs["cycles"].append(network)
        best = {}
        for kind, networks in runs.items():
            lost = lambda of: round((dense.accuracy(*validation) - of.accuracy(*validation)) * len(validation[1]))
            good = [of for of in networks if lost(of) <= MOST_LOST]
            assert good, f"{kind}: {[of.accuracy(*validation) for of in networks]}"
            measured = [(exact_cycles(of, machine, train[0][:16]), number) for number, of in enumerate(good)]
            cycles, number = min(measured)
            best[kind] = cycles, good[number]
            session = runtime.InferenceSession(
                good[number].onnx("N").SerializeToString(), providers=["CPUExecutionProvider"]
            )
            (scores,) = session.run(None, {"image": test[0]})
            judged = float((scores.argmax(1) == test[1]).mean())
            assert judged == pytest.approx(good[number].accuracy(*test), abs=0.006)
            print(
                f"seed {seed}, {kind}: {cycles:.0f} cycles of {exact_cycles(dense, machine, train[0][:16]):.0f}, validation "
                f"{good[number].accuracy(*validation):.3f} of {dense.accuracy(*validation):.3f}, test {judged:.3f} of "
                f"{dense.accuracy(*test):.3f} (ONNX Runtime)"
            )
        shares.append(best["cycles"][0] / best["uniform"][0])
    print(f"cycles of those by magnitude at one density: {[round(share, 3) for share in shares]}")
    # How many fewer depends on the arithmetic of the training, which differs between machines: 10 to 33 % were seen.
    assert max(shares) < 1.0


def test_a_pytorch_module_is_pruned_while_it_is_trained(machine):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from digits_network import Network, digits

    train, _, test = digits(1)
    images, labels = torch.from_numpy(train[0]), torch.from_numpy(train[1]).long()
    torch.manual_seed(1)
    conv = lambda inputs, outputs: torch.nn.Conv2d(inputs, outputs, 3, padding=1)
    layers = {"conv1": conv(1, 16), "conv2": conv(16, 32), "conv3": conv(32, 64)}
    layers |= {"fc1": torch.nn.Linear(256, 64), "fc2": torch.nn.Linear(64, 10)}

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)

        def forward(self, x):
            pool = torch.nn.functional.max_pool2d
            x = pool(self.conv2(self.conv1(x).relu()).relu(), 2)
            return self.fc2(self.fc1(pool(self.conv3(x).relu(), 2).flatten(1)).relu())

    module = Module()
    optimizer = torch.optim.Adam(module.parameters())

    def epoch():
        for part in torch.randperm(len(images)).split(50):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(images[part]), labels[part]).backward()
            optimizer.step()

    def exported():
        network = Network(0)
        network.weights = {name: of.detach().numpy().copy() for name, of in module.named_parameters()}
        return network

    for _ in range(8):
        epoch()
    cost = scnnc.Cost(exported().onnx(), machine=machine, calibrate=train[0][:1])
    with pytest.raises(scnnc.UsageError, match="names"):
        scnnc.prune.TorchPruner(torch.nn.Linear(3, 3), optimizer, cost, target=0.3, steps=4)
    pruner = scnnc.prune.TorchPruner(module, optimizer, cost, target=0.3, steps=4)
    while not pruner.done:
        before = {name: of.detach().clone() for name, of in module.named_parameters()}
        module.train()
        pruner.step(lambda: torch.nn.functional.cross_entropy(module(images[:300]), labels[:300]))
        assert module.training
        for name, of in module.named_parameters():
            mask = torch.from_numpy(pruner.masks[name]) if name in pruner.masks else 1
            assert torch.equal(of.detach(), before[name] * mask), name
        epoch()
    for name, mask in pruner.masks.items():
        assert not dict(module.named_parameters())[name].detach().numpy()[~mask].any(), name
    network = exported()
    then = scnnc.Cost(network.onnx(), machine=machine, calibrate=train[0][:1])
    assert then().total_cycles < 0.35 * cost().total_cycles
    assert network.accuracy(*test) > 0.9
    pruner.detach()
    epoch()
    assert dict(module.named_parameters())["fc1.weight"].detach().numpy()[~pruner.masks["fc1.weight"]].any()
