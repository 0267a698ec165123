"""Pin insertion: one idea per file; `catalogue.yaml` says which slot each fills and what it claims."""
