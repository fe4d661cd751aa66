"""Writes standard.txt: what the ONNX standard says of every operator of every operator set. Needs the package `onnx`.

    python standard.py > standard.txt

A line is: domain (`-` for ONNX's own), operator, the operator set that brought this definition, fewest and most operands,
fewest and most results (`*`: no limit), then attributes with their types, `!` behind one that must be given. Behind the
numbers of operands stand, after `?`, the positions of those that may be left out although others follow that may not. A
definition that differs from the one before it in none of these has no line.
"""

import onnx.defs

DOMAINS = ("", "ai.onnx.ml")
NO_LIMIT = 2**31 - 1
OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional

# Exporters leave out what these definitions ask for, and ONNX Runtime lets them.
LEFT_OUT = {("Resize", 11): {1, 2}}


def count(fewest, most):
    most = "*" if most == NO_LIMIT else most
    return f"{fewest}..{most}"


def operands(schema):
    gaps = {i for i, o in enumerate(schema.inputs[: schema.min_input]) if o.option == OPTIONAL}
    gaps |= LEFT_OUT.get((schema.name, schema.since_version), set())
    positions = ",".join(str(gap) for gap in sorted(gaps))
    return count(schema.min_input, schema.max_input) + (f"?{positions}" if gaps else "")


def attribute(name, schema):
    kind = str(schema.type).split(".")[-1].lower()
    return f"{name}:{kind}" + ("!" if schema.required else "")


def main():
    schemas = [s for s in onnx.defs.get_all_schemas_with_history() if s.domain in DOMAINS and not s.deprecated]
    schemas.sort(key=lambda s: (s.domain, s.name, s.since_version))
    last = None
    for schema in schemas:
        words = [
            operands(schema),
            count(schema.min_output, schema.max_output),
            *(attribute(name, a) for name, a in sorted(schema.attributes.items())),
        ]
        key = (schema.domain, schema.name, words)
        if key != last:
            print(schema.domain or "-", schema.name, schema.since_version, *words)
        last = key


main()
