"""What goes wrong is an exception with a code, a place, a reason and a remedy, and never the end of the interpreter."""

import os
import pickle
import random

import numpy
import pytest

import scnnc


def test_an_error_has_the_fields_of_its_diagnostic(tmp_path):
    with pytest.raises(scnnc.RefusedError) as caught:
        scnnc.compile(tmp_path / "none.onnx")
    error = caught.value
    assert (error.code, error.place) == ("E0101", str(tmp_path / "none.onnx"))
    assert "cannot be read" in error.reason and error.remedy
    assert error.code in str(error) and error.reason in str(error)
    assert error.code in scnnc.explain(error.code)
    assert error.diagnostics[0]["code"] == error.code


def test_a_wrong_option_is_a_value_error(tiny):
    for options in [{"prun": 0.4}, {"prune": 4}, {"prune": "much"}, {"machine": ""}, {"headroom": -1}]:
        with pytest.raises(scnnc.Error) as caught:
            scnnc.compile(tiny, **options)
        assert isinstance(caught.value, ValueError) or caught.value.code, options
    with pytest.raises(TypeError):
        scnnc.compile(42)
    with pytest.raises(ValueError, match="did you mean|similar"):
        scnnc.compile(tiny, prun=0.4)


def test_an_unknown_parameter_of_a_machine_is_named():
    with pytest.raises(scnnc.RefusedError, match="banks") as caught:
        scnnc.Machine("scnn", **{"pe.bank": 64})
    assert caught.value.code == "E0202"
    with pytest.raises(scnnc.RefusedError):
        scnnc.Machine("scnn", **{"pe.banks": 0})
    with pytest.raises(scnnc.RefusedError):
        scnnc.Machine("scnn", **{"name.of": 1})


def test_inputs_that_do_not_fit_are_refused(lenet, digits):
    images, labels = digits
    program = scnnc.compile(lenet, calibrate=images[:4])
    for x in [images[:, :, :20], {"images": images}, {}, images.astype(object), numpy.float32("nan") * images[:1]]:
        with pytest.raises((scnnc.RefusedError, TypeError)):
            program.run(x)
    with pytest.raises(scnnc.RefusedError, match="labels"):
        program.run(images[:2], labels=labels[:3])
    with pytest.raises(scnnc.UsageError):
        program.run(images[:2], timing="slow")
    with pytest.raises(scnnc.RefusedError) as caught:
        scnnc.load(program.to_bytes()).run()
    assert caught.value.code == "E0106"


def test_a_program_without_its_model_is_checked_bit_for_bit(lenet, digits):
    images, _ = digits
    program = scnnc.load(scnnc.compile(lenet, calibrate=images[:4]).to_bytes())
    assert program.run(images[:2], check=True).compared == {"images": 2, "tensors": 8}


def test_an_error_can_be_pickled(tmp_path):
    with pytest.raises(scnnc.RefusedError) as caught:
        scnnc.load(b"no program")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.diagnostics) == (
        scnnc.RefusedError,
        str(caught.value),
        caught.value.diagnostics,
    )


def damaged(data, generator):
    """Some bytes of `data` changed, cut out or doubled."""
    data = bytearray(data)
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(len(data))
        kind = generator.randrange(4)
        if kind == 0:
            data[at] = generator.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << generator.randrange(8)
        elif kind == 2:
            del data[at : at + generator.randint(1, 20)]
        else:
            data[at:at] = data[at : at + generator.randint(1, 20)]
    return bytes(data)


def resident():
    """Memory of this process, bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.filterwarnings("ignore::scnnc.Warning")
def test_damaged_models_and_programs_raise_and_leave_nothing(tiny):
    """`SCNNC_DAMAGED=10000` asks for more than a test run has time for."""
    count = int(os.environ.get("SCNNC_DAMAGED", "150"))
    generator, sound = random.Random(5), tiny.read_bytes()
    program = scnnc.compile(sound, mapping="paper")
    data = program.to_bytes()
    refused, before = 0, None
    for number in range(count):
        if number == count // 3 and os.path.exists("/proc/self/statm"):
            before = resident()
        try:
            if number % 2:
                scnnc.compile(damaged(sound, generator), mapping="paper")
            else:
                scnnc.load(damaged(data, generator))
        except scnnc.InternalError:
            raise
        except scnnc.Error as error:
            assert error.code and error.reason, error
            refused += 1
    assert refused > count // 3
    if before is not None:
        assert resident() - before < 64 << 20
    assert scnnc.compile(sound, mapping="paper").to_bytes() == data
