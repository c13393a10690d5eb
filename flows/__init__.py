"""The Prefect flows: thin tasks that resolve references, call the library and return references."""
