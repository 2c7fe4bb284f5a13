"""The JSON Schemas for editors, generated from `types`.

python -m corec.config.schema                  prints the schema of corec_config.json
python -m corec.config.schema --write configs  writes both schemas into a folder
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from corec.config.types import CoreFile, PluginSection

DIALECT = "https://json-schema.org/draft/2020-12/schema"
USAGE = "usage: python -m corec.config.schema [--write FOLDER]"


def core_schema() -> dict[str, Any]:
    schema = msgspec.json.schema(CoreFile)
    return {"$schema": DIALECT, "title": "corec_config.json", **schema}


def plugins_schema() -> dict[str, Any]:
    """Each key is a plugin; a plugin's own keys are not restricted."""
    section = msgspec.json.schema(PluginSection)
    core = msgspec.json.schema(CoreFile)["$defs"][CoreFile.__name__]
    return {
        "$schema": DIALECT,
        "title": "plugins_config.json",
        "description": "Configuration by plugin; it wins over the plugin's own config.json.",
        "type": "object",
        "properties": {"$schema": core["properties"]["$schema"]},
        "additionalProperties": {"$ref": section["$ref"]},
        "$defs": section["$defs"],
    }


def schemas() -> dict[str, str]:
    """File name -> text of the schema."""
    trees = {
        "corec_config.schema.json": core_schema(),
        "plugins_config.schema.json": plugins_schema(),
    }
    return {
        name: json.dumps(tree, indent=2, ensure_ascii=False) + "\n" for name, tree in trees.items()
    }


def main(arguments: list[str]) -> int:
    """Print the first schema, or write both."""
    match arguments:
        case []:
            print(schemas()["corec_config.schema.json"], end="")
        case ["--write", folder]:
            for name, text in schemas().items():
                Path(folder, name).write_text(text, encoding="utf-8")
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
