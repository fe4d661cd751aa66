-- Cycles of each layer; a microsecond of the trace is a cycle.
SELECT slice.name AS layer, slice.dur / 1000 AS cycles
FROM slice JOIN track ON slice.track_id = track.id
WHERE track.name = 'layers'
ORDER BY slice.ts, slice.id;
