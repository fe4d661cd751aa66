"""Rules changed by one cycle, one byte, one element: what the twin must not agree with.

Each field is a sabotage: it is 0 in the twin that follows the document; a test sets one at a time to 1 and expects that
some figure then differs.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Change:
    block_byte: int = 0
    """A block has a byte more (section 2)."""
    run_length: int = 0
    """A zero run is one shorter before a placeholder is due (section 2)."""
    part_vector: int = 0
    """A part has a vector less than the FIFO (section 2)."""
    trailing_counts: int = 0
    """Counts of empty blocks behind the last part of a round do not travel (section 2)."""
    weights_outermost: int = 0
    """Weight vectors are held, and activation vectors stream past (section 3)."""
    accumulator_pitch: int = 0
    """A row of accumulators is one longer (section 3)."""
    queue_entry: int = 0
    """A bank queue has an entry more (section 3)."""
    third_half: int = 0
    """A round may begin before the last but one is drained (section 4)."""
    retired_early: int = 0
    """A round is retired when its PEs have ended, whatever their queues hold (section 4)."""
    fifo_vector: int = 0
    """A FIFO holds a vector less (section 5)."""
    eager_weights: int = 0
    """Weights are requested before their activations are loaded (section 5)."""
    bus_vector: int = 0
    """The bus carries a vector more for each part (section 5)."""
    dram_cycle: int = 0
    """A transfer takes a cycle longer (section 6)."""
    bulk_first: int = 0
    """Weights wait for the bulk transfer that is under way (section 6)."""
    load_cycle: int = 0
    """A load's columns take a cycle more (section 7)."""
    region_element: int = 0
    """A region has an element less (section 7)."""
    spill_byte: int = 0
    """A spill read has a byte more (section 7)."""
    drain_cycle: int = 0
    """A drain takes a cycle longer (section 8)."""
    owner: int = 0
    """A part owns one output less at its begin (section 8)."""
    operand_byte: int = 0
    """An operand has a byte more (section 8)."""
    result_byte: int = 0
    """A result has a byte more (section 8)."""
    layer_cycle: int = 0
    """A layer ends a cycle later (section 9)."""
    head_start: int = 0
    """A layer's weights may be requested a cycle earlier (section 9)."""
    bus_charge: int = 0
    """Waiting for the bus is charged before waiting for loads (section 10)."""
    fast_barrier: int = 0
    """Fast has a barrier after every round (section 11)."""
    priced_bank: int = 0
    """Energies are those of a crossbar with one bank more (isa/MACHINE.md)."""
    receivers: int = 0
    """FIFO writes count PEs with elements only (section 12)."""


NONE = Change()
NAMES = [field.name for field in fields(Change)]
