"""Energies of events on a machine, by the laws of isa/MACHINE.md: an energy at the paper's sizes times a ratio."""

from math import log2, sqrt

from change import NONE, Change

PAPER = {
    "array": {"rows": 8, "cols": 8},
    "pe": {
        "weights_per_vector": 4,
        "activations_per_vector": 4,
        "operand_bits": 16,
        "accumulator_bits": 24,
        "banks": 32,
        "entries_per_bank": 32,
    },
    "encoding": {"index_bits": 4},
    "activation_ram": {"a_bytes": 10240, "b_bytes": 10240},
    "weights": {"fifo_vectors": 50},
    "dataflow": {"sram_bytes": 2097152},
}
"""Sizes of the paper's machine."""

PAPER_AREA = {
    "activation_rams": 0.031,
    "weight_fifo": 0.004,
    "multipliers": 0.008,
    "crossbar": 0.026,
    "accumulators": 0.036,
    "other": 0.019,
}


def prices(machine: dict, change: Change = NONE) -> dict:
    """pJ by entry of the table."""
    table = {}
    machine = {**machine, "pe": {**machine["pe"], "banks": machine["pe"]["banks"] + change.priced_bank}}
    for name, entry in machine["energy"].items():
        if "law" in entry:
            table[name] = entry["paper_pj"] * ratio(entry["law"], machine)
        else:
            table[name] = entry["pj"]
    return table


def ratio(law: str, machine: dict) -> float:
    """Energy here over energy at the paper's sizes."""
    here = sizes(machine, {name: entry["mm2"] for name, entry in machine["area"].items()})
    paper = sizes(PAPER, PAPER_AREA)
    of = lambda size: size(*here) / size(*paper)
    if law == "fifo_write":
        return 0.6 * of(SIZES["fifo_write_memory"]) + 0.4 * of(SIZES["bus"])
    if law == "ppu":
        return 0.6 * of(SIZES["multiplier"]) + 0.4 * of(SIZES["adder"])
    return of(SIZES[law])


def sizes(machine: dict, area: dict) -> tuple:
    """The machine's sizes, and the side of its PE."""
    return machine, sqrt(pe_area(machine, area))


def pe_area(machine: dict, area: dict) -> float:
    """mm2 of a PE, each part of the table in proportion to what it is made of."""
    grown = lambda part: part(machine) / part(PAPER)
    products = grown(lambda m: m["pe"]["weights_per_vector"] * m["pe"]["activations_per_vector"])
    banks, entries = grown(lambda m: m["pe"]["banks"]), grown(lambda m: m["pe"]["entries_per_bank"])
    width = grown(lambda m: m["pe"]["accumulator_bits"])
    return (
        area["activation_rams"] * grown(lambda m: m["activation_ram"]["a_bytes"] + m["activation_ram"]["b_bytes"])
        + area["weight_fifo"] * grown(lambda m: m["weights"]["fifo_vectors"] * weight_bits(m))
        + area["multipliers"] * products * grown(lambda m: m["pe"]["operand_bits"]) ** 2
        + area["crossbar"] * products * banks * width
        + area["accumulators"] * banks * entries * width
        + area["other"] * products
    )


def element_bits(machine: dict) -> int:
    return machine["pe"]["operand_bits"] + machine["encoding"]["index_bits"]


def weight_bits(machine: dict) -> int:
    """Bits of a vector of weights."""
    return machine["pe"]["weights_per_vector"] * element_bits(machine)


def read(bytes_: float, bits: float) -> float:
    return bytes_**0.537 * bits**0.344


def write(bytes_: float, bits: float) -> float:
    return bytes_**0.383 * bits**0.734


def adder(bits: float) -> float:
    return 0.03 + (bits - 8) * 0.07 / 24


def bank(machine: dict, _) -> float:
    bits = machine["pe"]["accumulator_bits"]
    bytes_ = 2 * machine["pe"]["entries_per_bank"] * bits / 8
    # pJ of a byte and a bit at 22 nm: the fits' own factors weigh the two.
    return 0.00297 * read(bytes_, bits) + 0.0025 * write(bytes_, bits)


def fifo(machine: dict) -> tuple:
    return machine["weights"]["fifo_vectors"] * weight_bits(machine) / 8, weight_bits(machine)


def ram(machine: dict) -> tuple:
    rams = machine["activation_ram"]
    return (rams["a_bytes"] + rams["b_bytes"]) / 2, machine["pe"]["activations_per_vector"] * element_bits(machine)


def dense(machine: dict) -> tuple:
    pes = machine["array"]["rows"] * machine["array"]["cols"]
    return machine["dataflow"]["sram_bytes"] / pes, 4 * machine["pe"]["operand_bits"]


def ports(machine: dict) -> int:
    pe = machine["pe"]
    return pe["weights_per_vector"] * pe["activations_per_vector"] + pe["banks"]


SIZES = {
    "multiplier": lambda m, side: m["pe"]["operand_bits"] ** 1.977,
    "adder": lambda m, side: adder(m["pe"]["accumulator_bits"]),
    "coordinate": lambda m, side: adder(log2(m["pe"]["banks"] * m["pe"]["entries_per_bank"])),
    "accumulator_bank": bank,
    "crossbar": lambda m, side: ports(m) * m["pe"]["accumulator_bits"] ** 2,
    "fifo_read": lambda m, side: read(*fifo(m)),
    "fifo_write_memory": lambda m, side: write(*fifo(m)),
    "bus": lambda m, side: weight_bits(m) * side * (1 + 1 / m["array"]["cols"]),
    "ram_read": lambda m, side: read(*ram(m)),
    "ram_write": lambda m, side: write(*ram(m)),
    "halo_link": lambda m, side: m["pe"]["accumulator_bits"] * side,
    "dense_read": lambda m, side: read(*dense(m)),
    "dense_write": lambda m, side: write(*dense(m)),
}
"""What energies are in proportion to: of a machine and the side of its PE in mm."""
