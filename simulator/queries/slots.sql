-- Multiplier slots by cause, over all layers: they sum to cycles x PEs x multipliers.
SELECT SUBSTR(args.key, 13) AS cause, SUM(args.int_value) AS slots
FROM slice
JOIN track ON slice.track_id = track.id
JOIN args ON slice.arg_set_id = args.arg_set_id
WHERE track.name = 'layers' AND args.key LIKE 'debug.slots.%'
GROUP BY args.key
ORDER BY slots DESC, cause;
