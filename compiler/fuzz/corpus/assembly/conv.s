; conv on machine scnn: 1 layers, 6 instructions
.provenance {
  tool: "scnnc 0.1.0"
  model: conv
  model_hash: "333ed547fcf1e41dc16b762d4cd355bea8c269832c1f474970f3a45b1ae39867"
  options: ["machine=scnn", "mapping=paper", "bits=16", "headroom=1.5", "calibration=seeded noise (2 samples)", "seed=1"]
  ranges: proven
}
.inputs [x]
.outputs [y]

; What the host sees, and where the machine keeps it.
.value x {dtype: f32, shape: 1x2x6x6, region: x.dram}
.value y {dtype: f32, shape: 1x3x2x2, region: y.dram}

; Activation tensors: N x C x H x W, the cut over the PEs, the blocks' residues.
.tensor x {
  shape: 1x2x6x6
  range: [-32767, 32767]
  scale: 3.8057176e-5
  layout: {groups: 1x1, residues: 2x2, tiles: [{images: 1x1, n: 0..1, y: 0..6 by 1 in 8, x: 0..6 by 1 in 8}]}
}
.tensor y {
  shape: 1x3x2x2
  range: [0, 32767]
  scale: 8.604582e-5
  layout: {groups: 1x1, residues: 1x1, tiles: [{images: 1x1, n: 0..1, y: 0..2 by 1 in 8, x: 0..2 by 1 in 8}]}
}

; Places of tensors: elements of every PE's RAM A or B, bytes of DRAM.
.region x.dram {tensor: x, tiles: 0..1, memory: dram, base: 0, size: 728}
.region y.dram {tensor: y, tiles: 0..1, memory: dram, base: 728, size: 228}
.region x.a {tensor: x, tiles: 0..1, memory: a, base: 0, size: 2}

; Constants.
.section /conv.weights {kind: weights}  ; 76 bytes
.section /conv.requantise {kind: requantise}  ; 21 bytes

; /conv: 2x6x6 -> 3x2x2, 3x3 convolution, stride 2x2, ReLU, maximum pooling 2x2
; 1 output-channel group of at most 3 channels, 1 pass, products rounded to 2^10, 48.1 % of the weights are not zero
.layer /conv {
  source: {tensor: x, channels: 0..2}
  destination: {tensor: y, channels: 0..3}
  array: {
    groups: 1
    y: {input: 6, output: 3, kernel: 3, stride: 2, pad: [1, 1]}
    x: {input: 6, output: 3, kernel: 3, stride: 2, pad: [1, 1]}
    pe_groups: 1x1
    channel_groups: [0..3]
    order: krs
    weights: /conv.weights
    product_shift: 10
  }
  ppu: {
    requantise: /conv.requantise
    clamp: [0, 32767]
    pool: {
      kind: max
      y: {input: 3, output: 2, kernel: 2}
      x: {input: 3, output: 2, kernel: 2}
      multiplier: 1
      shift: 0
    }
  }
  passes: [{output: {n: 0..1, y: 0..2, x: 0..2}, source_tile: 0}]
}

; cfg  Select the layer descriptor that the following array and PPU instructions use.
; lda  Load activations from DRAM into an activation RAM, compressed.
; ldw  Stream the layer's weight blocks of a range of rounds into the weight FIFOs.
; mac  Multiply all-to-all the activations of a channel range by the streamed weights, into the accumulators.
; drn  Drain accumulators through the PPU: exchange halos, requantise, activate, pool, compress.
; end  Stop; the last instruction.
.code

.nodes /conv /relu /pool
  cfg layer=/conv
  lda from=x.dram to=x.a
  ldw rounds=0..1
  mac pass=0 rounds=0..1 channels=0..2 from=x.a half=0
  drn pass=0 rounds=0..1 to=y.dram operand=none half=0

.nodes none
  end

; The machine, every parameter.
.machine
  name: scnn
  array:
    rows: 8
    cols: 8
  pe:
    weights_per_vector: 4
    activations_per_vector: 4
    operand_bits: 16
    accumulator_bits: 24
    banks: 32
    entries_per_bank: 32
    queue_depth: 8
    bank_map: modulo
  encoding:
    index_bits: 4
    compress_weights: true
    compress_activations: true
  activation_ram:
    a_bytes: 10240
    b_bytes: 10240
  weights:
    fifo_vectors: 50
    delivery: broadcast
    bus_vectors_per_cycle: 1
  sync:
    drift: fifo
  ppu:
    lanes: 4
    halo_sums_per_cycle: 1
    multiply: full
    table_segments: 256
  dram:
    gigabytes_per_second: 50.0
  host_link:
    gigabytes_per_second: 16.0
  clock:
    gigahertz: 1.0
  dataflow:
    kind: cartesian_sparse
    sram_bytes: 2097152
    dot_product_width: 16
    gate_zero_operands: false
    compress_dram: true
  energy:
    multiply:
      pj: 0.12
      source: 16x16 bit; Horowitz ISSCC 2014 interpolated between 8 and 32 bit, scaled to 16 nm
    add:
      pj: 0.011
      source: 24 bit; Horowitz ISSCC 2014, 32 bit 0.1 pJ at 45 nm, scaled to 16 nm
    accumulate:
      pj: 0.15
      source: bank of 128 B, read and write; CACTI 7, .14/.20 pJ at 22 nm for 32 bit, scaled to 24 bit and 16 nm
    crossbar_transfer:
      pj: 0.3
      source: 16 x 32 crossbar, 24 bit; middle of the estimated 0.2 to 0.4 pJ
    coordinate:
      pj: 0.03
      source: index additions per product; middle of the estimated .02 to .05 pJ
    fifo_read_vector:
      pj: 0.25
      source: 512 B, 80 bit; CACTI 7, .34 pJ for 64 bit at 22 nm, scaled
    fifo_write_vector:
      pj: 0.45
      source: 512 B, 80 bit; CACTI 7, .59 pJ for 64 bit at 22 nm, scaled
    iaram_read_vector:
      pj: 1.1
      source: 8 KB data and 2 KB index, 80 bit; CACTI 7, 1.50 + .45 pJ at 22 nm, scaled
    oaram_write_vector:
      pj: 1.2
      source: 8 KB data and 2 KB index, 80 bit; CACTI 7, 1.69 + .36 pJ at 22 nm, scaled
    ppu_element:
      pj: 0.2
      source: one multiplication and a few additions and comparisons (ours)
    halo_sum:
      pj: 0.3
      source: a link to a neighbour, 24 bit, taken as a crossbar transfer (ours)
    dram_bit:
      pj: 10.0
      source: within the 7 to 20 pJ/bit of published DRAM interfaces
    host_bit:
      pj: 10.0
      source: taken as a DRAM bit (ours)
    dense_operand_vector_read:
      pj: 2.2
      source: 32 KB, 64 bit; CACTI 7, 3.5 pJ at 22 nm, scaled
    dense_add:
      pj: 0.011
      source: 24 bit; Horowitz ISSCC 2014, scaled to 16 nm
    dense_sram_read_vector:
      pj: 2.2
      source: 32 KB, 64 bit; CACTI 7, 3.5 pJ at 22 nm, scaled
    dense_sram_write_vector:
      pj: 1.8
      source: 32 KB, 64 bit; CACTI 7, 2.8 pJ at 22 nm, scaled
  area:
    activation_rams:
      mm2: 0.031
      source: paper, table of areas (recalled)
    weight_fifo:
      mm2: 0.004
      source: paper, table of areas (recalled)
    multipliers:
      mm2: 0.008
      source: paper, table of areas
    crossbar:
      mm2: 0.026
      source: paper, table of areas
    accumulators:
      mm2: 0.036
      source: paper, table of areas (recalled)
    other:
      mm2: 0.019
      source: paper, table of areas (recalled)
    dense_total:
      mm2: 5.9
      source: paper, DCNN and DCNN-opt

; What the sections and the host models hold, base64.
.data section /conv.weights [
  "AQJQqgEAdKcDIAH/fzIG/38HQAEAAE8oiYnw8ebPsXmcA4QzAQBN7gIwA7HeAgIgiMDoTwkAAAEAAav1mrg9EU5e4AUBgGuDJFkzJA=="
]
.data section /conv.requantise [
  "eFT7/30WE+zLAACpRRV7zQkATycU"
]
