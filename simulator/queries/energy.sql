-- Energy in pJ, and bytes from and to DRAM, of each layer.
SELECT
  slice.name AS layer,
  EXTRACT_ARG(slice.arg_set_id, 'debug.energy_pj') AS energy_pj,
  EXTRACT_ARG(slice.arg_set_id, 'debug.dram_bytes') AS dram_bytes
FROM slice JOIN track ON slice.track_id = track.id
WHERE track.name = 'layers'
ORDER BY slice.ts, slice.id;
