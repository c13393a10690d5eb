"""The JSON schema of a config, by which editors complete and check it: python -m rnnpipe.config.schema"""

import json
from pathlib import Path

from rnnpipe.config.pipeline import PipelineConfig
from rnnpipe.files import write_bytes

SCHEMA_FILE = Path(__file__).parents[2] / "configs" / "schema.json"


def schema_text() -> str:
    """Return the schema as the file has it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **PipelineConfig.model_json_schema()}
    return f"{json.dumps(schema, indent=1, ensure_ascii=False)}\n"


if __name__ == "__main__":
    write_bytes(SCHEMA_FILE, schema_text().encode())
