; host on machine scnn: 2 layers, 9 instructions
.provenance {
  tool: "scnnc 0.1.0"
  model: host
  model_hash: "607183eb81442621ebca6f5019c377e9e5e71b0b57eff5ecf9a06c382c18dd31"
  options: ["machine=scnn", "mapping=paper", "bits=16", "headroom=1.5", "calibration=seeded noise (2 samples)", "seed=1"]
  ranges: proven
}
.inputs [x]
.outputs [y]

; What the host sees, and where the machine keeps it.
.value x {dtype: f32, shape: 1x3x2x2, region: x.dram}
.value m {dtype: f32, shape: 1x4, region: m.dram}
.value y {dtype: f32, shape: 1x4}

; Activation tensors: N x C x H x W, the cut over the PEs, the blocks' residues.
.tensor x {
  shape: 1x3x2x2
  range: [-32767, 32767]
  scale: 3.3937995e-5
  layout: {groups: 1x1, residues: 1x1, tiles: [{images: 1x1, n: 0..1, y: 0..2 by 1 in 8, x: 0..2 by 1 in 8}]}
}
.tensor s {
  shape: 1x3x2x2
  range: [-32767, 32767]
  scale: 2.9465391e-5
  layout: {groups: 1x1, residues: 2x2, tiles: [{images: 1x1, n: 0..1, y: 0..2 by 1 in 8, x: 0..2 by 1 in 8}]}
}
.tensor m {
  shape: 1x4x1x1
  range: [-32767, 32767]
  scale: 4.80169e-5
  layout: {groups: 1x1, residues: 1x1, tiles: [{images: 1x1, n: 0..1, y: 0..1 by 1 in 8, x: 0..1 by 1 in 8}]}
}

; Places of tensors: elements of every PE's RAM A or B, bytes of DRAM.
.region x.dram {tensor: x, tiles: 0..1, memory: dram, base: 0, size: 228}
.region m.dram {tensor: m, tiles: 0..1, memory: dram, base: 228, size: 268}
.region s.b {tensor: s, tiles: 0..1, memory: b, base: 0, size: 3}
.region x.a {tensor: x, tiles: 0..1, memory: a, base: 0, size: 3}

; Constants.
.section /bn.requantise {kind: requantise}  ; 21 bytes
.section /bn.table {kind: table}  ; 770 bytes
.section /fc.weights {kind: weights}  ; 61 bytes
.section /fc.requantise {kind: requantise}  ; 28 bytes

; What the host runs.
.segment host./softmax {inputs: [m], outputs: [y]}  ; ONNX, 98 bytes

; /bn: 3x2x2 -> 3x2x2, activation by table
.layer /bn {
  source: {tensor: x, channels: 0..3}
  destination: {tensor: s, channels: 0..3}
  ppu: {requantise: /bn.requantise, function: {table: /bn.table}, clamp: [-32767, 32767]}
  passes: [{output: {n: 0..1, y: 0..2, x: 0..2}, source_tile: 0}]
}

; /fc: 3x2x2 -> 4x1x1, 2x2 convolution, stride 2x2
; 1 output-channel group of at most 4 channels, 1 pass, products rounded to 2^10, 37.5 % of the weights are not zero
.layer /fc {
  source: {tensor: s, channels: 0..3}
  destination: {tensor: m, channels: 0..4}
  array: {
    groups: 1
    y: {input: 2, output: 1, kernel: 2, stride: 2}
    x: {input: 2, output: 1, kernel: 2, stride: 2}
    pe_groups: 1x1
    channel_groups: [0..4]
    order: krs
    weights: /fc.weights
    product_shift: 10
  }
  ppu: {requantise: /fc.requantise, clamp: [-32767, 32767]}
  passes: [{output: {n: 0..1, y: 0..1, x: 0..1}, source_tile: 0}]
}

; cfg  Select the layer descriptor that the following array and PPU instructions use.
; lda  Load activations from DRAM into an activation RAM, compressed.
; ldw  Stream the layer's weight blocks of a range of rounds into the weight FIFOs.
; mac  Multiply all-to-all the activations of a channel range by the streamed weights, into the accumulators.
; drn  Drain accumulators through the PPU: exchange halos, requantise, activate, pool, compress.
; ppu  Send a source tile through the PPU alone (layers without an array stage).
; hst  Run a host segment on its values; machine tensors cross the host link.
; end  Stop; the last instruction.
.code

.nodes /bn /sigmoid
  cfg layer=/bn
  lda from=x.dram to=x.a
  ppu pass=0 from=x.a to=s.b operand=none

.nodes /fc /flat
  cfg layer=/fc
  ldw rounds=0..1
  mac pass=0 rounds=0..1 channels=0..3 from=s.b half=0
  drn pass=0 rounds=0..1 to=m.dram operand=none half=0

.nodes /softmax
  hst segment=host./softmax

.nodes none
  end

; The machine; that of conv.s has every parameter, for the damages.
.machine
  extends: scnn

; What the sections and the host models hold, base64.
.data section /bn.requantise [
  "tbUAAGHxD8duAAAJcheCZwAAG0UT"
]
.data section /bn.table [
  "CAAACAAACAAACAAACAAACAAACAAACAAACAAACAAACAEACAEACAEACAEACAEACAEACAEACAEACAEACAEACAEACAEACAIACAIACAIACAIACAIACAMA"
  "CAMACAMACAMACAQACAQACAUACAUACAYACAYACAcACAcACAgACAkACAoACAsACAwACA0ACA4ACBAACBEACBMACBUACBcACBkACBsACB4ACCEACCQA"
  "CCgACCwACDAACDUACDoACD8ACEYACEwACFQACFwACGUACG8ACHoACIYACJMACKEACLEACMIACNUACOoACAEBCBoBCDYBCFQBCHUBCJkBCMEBCOwB"
  "CBwCCFACCIkCCMcCCAwDCFcDCKgDCAEECGMECM0ECEEFCMAFCEoGCOAGCIMHCDQICPQICMUJCKcKCJwLCKQMCMENCPQOCD4QCKERCBwTCLIUCGMW"
  "CC8YCBgaCB0cCD8eCH4gCNgiCE4lCN8nCIgqCEktCB4wCAczCAA2CAY5CBc8CC4/CElCCGRFCHtICIxLCJJOCItRCHRUCElXCApaCLNcCERfCLph"
  "CBRkCFNmCHVoCHpqCGNsCC9uCOBvCHZxCPJyCFR0CJ51CNF2CO53CPZ4COt5CM16CJ57CF58CA99CLN9CEl+CNJ+CFF/CMV/CP9/CP9/CP9/CP9/"
  "CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/"
  "CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/"
  "CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/CP9/"
  "CP9/CP9/CP9/CP9//38="
]
.data section /fc.weights [
  "AgCxguN5AxAAAYDaw9U2AQIBgAEA7bwBAk9iAQJvwgMBALAU6Hf/fwMAAB0YAYAzYgABAjJYAgA8gHBiAA=="
]
.data section /fc.requantise [
  "AAAAAFsCDwAAAACFBBAAAAAAr3kVAAAAAHEZEw=="
]
.data segment host./softmax [
  "CAgSBXNjbm5jOlMKGQoBbRIBeRoIL3NvZnRtYXgiB1NvZnRtYXgSDGhvc3Qgc2VnbWVudFoTCgFtEg4KDAgBEggKAggBCgIIBGITCgF5Eg4KDAgB"
  "EggKAggBCgIIBEICEA0="
]
